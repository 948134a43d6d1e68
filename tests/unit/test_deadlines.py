"""A server's deadline is the server's: a loop that runs late does not use it up."""

from __future__ import annotations

import asyncio
import time

import pytest

from headrace.concurrency.deadlines import LOOKS, ServerDeadline


async def test_a_server_that_is_silent_has_its_time_and_no_more() -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with ServerDeadline(0.1):
            await asyncio.sleep(10)
    assert time.monotonic() - began >= 0.1


async def test_a_late_loop_uses_up_no_deadline() -> None:
    answered = asyncio.get_running_loop().create_future()

    def busy(rounds: int) -> None:
        time.sleep(0.02)
        if rounds:
            asyncio.get_running_loop().call_soon(busy, rounds - 1)
        else:
            answered.set_result("here")

    # The answer comes while the loop is late: rounds of 20 ms, a deadline of 10.
    asyncio.get_running_loop().call_soon(busy, LOOKS - 2)
    async with ServerDeadline(0.01):
        assert await answered == "here"
    answered = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(busy, LOOKS * 4)
    with pytest.raises(TimeoutError):
        await _within(0.01, asyncio.shield(answered))
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
