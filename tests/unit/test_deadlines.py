"""A server's deadline is the server's: a loop that runs late does not use it up."""

from __future__ import annotations

import asyncio
import time

import pytest

from headrace.concurrency.deadlines import LOOKS, ServerDeadline
from tests.support.late_loop import ROUND_SECONDS, answered_late


async def test_a_server_that_is_silent_has_its_time_and_no_more() -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with ServerDeadline(0.1):
            await asyncio.sleep(10)
    assert time.monotonic() - began >= 0.1


async def test_a_late_loop_uses_up_no_deadline() -> None:
    # The answer comes while the loop is late.
    answered = answered_late(LOOKS - 1)
    async with ServerDeadline(ROUND_SECONDS / 2):
        assert await answered == "here"
    answered = answered_late(LOOKS * 4)
    with pytest.raises(TimeoutError):
        await _within(ROUND_SECONDS / 2, asyncio.shield(answered))
    await answered


async def _within(seconds: float, work: asyncio.Future[str]) -> str:
    async with ServerDeadline(seconds):
        return await work


async def test_nothing_is_left_behind() -> None:
    async with ServerDeadline(0.01):
        pass
    await asyncio.sleep(0.05)
    with pytest.raises(LookupError):
        async with ServerDeadline(0.01):
            raise LookupError
    await asyncio.sleep(0.05)
