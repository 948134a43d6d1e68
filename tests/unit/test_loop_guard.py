"""The guard of the tests' event loops catches what blocks one, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from headrace.concurrency.gather import gather_all
from tests.support.loop_guard import MAX_STEP_CPU_SECONDS, BlockedLoopError, guarded_loop


def compute() -> None:
    """Take more CPU time than a step may."""
    end = time.thread_time() + 2 * MAX_STEP_CPU_SECONDS
    while time.thread_time() < end:
        sum(range(1000))


async def nothing() -> None:
    """A coroutine."""


def within_the_product(call: Callable[[], None]) -> Iterator[Coroutine[Any, Any, None]]:
    """Runs the call in a frame under the product's own."""
    call()
    yield nothing()


def test_a_step_in_which_the_product_computes_for_long_is_caught() -> None:
    with pytest.raises(BlockedLoopError, match="s of CPU in"), guarded_loop():
        asyncio.run(gather_all(within_the_product(compute)))


def test_what_a_test_computes_itself_is_not() -> None:
    async def test() -> None:
        compute()
        await gather_all([nothing()])

    with guarded_loop():
        asyncio.run(test())


def test_a_blocking_call_of_the_product_is_caught() -> None:
    with pytest.raises(Exception, match="Blocking call"), guarded_loop():
        asyncio.run(gather_all(within_the_product(lambda: time.sleep(0.001))))
