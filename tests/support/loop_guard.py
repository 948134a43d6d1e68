"""Catches a blocked event loop: blocking calls by name, and long computations by the CPU time of one loop step."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from blockbuster import BlockBuster

# CPU time, not wall time: a busy machine stretches the latter at will. A client's first call builds its models in one step.
MAX_STEP_CPU_SECONDS = 0.5
# redis-py reads its own version from its metadata when it opens a connection; imports read files once.
TOLERATED = (("redis/utils.py", {"get_lib_version"}), ("<frozen importlib._bootstrap>", {"_find_and_load"}))


class BlockedLoopError(AssertionError):
    """A step of the event loop computed for too long."""


@contextmanager
def guarded_loop() -> Iterator[None]:
    """Fail on blocking calls under our code, and on a loop step that takes more than half a CPU second."""
    slow: list[str] = []
    original = asyncio.events.Handle._run
    collecting = [0.0, 0.0]  # when the garbage collector began, and what it has taken so far

    def count_collection(phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            collecting[0] = time.thread_time()
        else:
            collecting[1] += time.thread_time() - collecting[0]

    def measured(handle: Any) -> None:
        # Collecting a test session's garbage says nothing about the code under test.
        started = time.thread_time() - collecting[1]
        original(handle)
        seconds = time.thread_time() - collecting[1] - started
        if seconds > MAX_STEP_CPU_SECONDS:
            owner = getattr(handle._callback, "__self__", None)
            slow.append(f"{seconds:.2f} s of CPU in {owner or handle!r}")

    blocking = BlockBuster(scanned_modules=["headrace", "functions"])
    for function in blocking.functions.values():
        for file, names in TOLERATED:
            function.can_block_in(file, names)
    blocking.activate()
    gc.callbacks.append(count_collection)
    asyncio.events.Handle._run = measured  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        asyncio.events.Handle._run = original  # type: ignore[method-assign]
        gc.callbacks.remove(count_collection)
        blocking.deactivate()
    if slow:
        raise BlockedLoopError("The event loop was blocked: " + "; ".join(slow))
