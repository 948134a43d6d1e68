"""A wait that is too long ends with a TimeoutError; news, and what happens between waits, give it time again."""

from __future__ import annotations

import asyncio

import pytest

from headrace.concurrency.deadlines import LOOKS
from headrace.concurrency.idle import IdleLimit
from tests.support.late_loop import ROUND_SECONDS, answered_late


async def test_a_wait_ends_at_the_limit() -> None:
    limit = IdleLimit(0.05)
    with pytest.raises(TimeoutError):
        with limit:
            await asyncio.sleep(10)
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    with pytest.raises(TimeoutError):
        with limit:
            await asyncio.sleep(10)
    limit.close()


async def test_waits_without_news_add_up_and_news_begin_anew() -> None:
    limit = IdleLimit(1.0)
    for _ in range(12):
        with limit:
            await asyncio.sleep(0.1)
        limit.reset()
        # Nobody waits meanwhile.
        await asyncio.sleep(0.05)

    async def waits() -> None:
        for _ in range(5):
            with limit:
                await asyncio.sleep(0.4)

    with pytest.raises(TimeoutError):
        await waits()
    limit.close()


async def test_a_late_loop_uses_up_no_limit() -> None:
    # The news comes while the loop is late.
    answered = answered_late(LOOKS - 1)
    limit = IdleLimit(ROUND_SECONDS / 2)
    with limit:
        assert await answered == "here"
    limit.close()


async def test_what_fails_in_a_wait_or_is_cancelled_there_is_so() -> None:
    limit = IdleLimit(5.0)
    with pytest.raises(LookupError):
        with limit:
            raise LookupError

    async def waits() -> None:
        with limit:
            await asyncio.sleep(10)

    task = asyncio.create_task(waits())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    limit.close()
