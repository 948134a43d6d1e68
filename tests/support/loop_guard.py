"""Catches a blocked event loop: blocking calls by name, and long computations by the CPU time that our code takes in one step.

What counts is CPU time of the loop's thread while a frame of the product is on its stack. Wall time, and what a test
computes itself, would fail on a busy machine.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from blockbuster import BlockBuster

from infra.local.processes import ROOT

MAX_STEP_CPU_SECONDS = 0.5
SAMPLE_SECONDS = 0.02
# A virtual machine that stood still for a while counts that as CPU time: it shows as one long sample, which counts for no
# more than this, unless it is so long that only C code that never lets go of the interpreter explains it.
MOST_OF_A_SAMPLE_SECONDS = 0.1
LONG_SAMPLE_SECONDS = 3.0
PRODUCT = (str(ROOT / "shared" / "headrace"), str(ROOT / "functions"))
# What happens once: an import reads files, a client's first call builds its models, a cluster's first command reads what
# commands there are.
ONCE = (
    "<frozen importlib._bootstrap>",
    "pydantic/_internal/_model_construction.py",
    "redis/_parsers/commands.py",
)
# redis-py reads its own version from its metadata when it opens a connection.
TOLERATED = (
    ("redis/utils.py", {"get_lib_version"}),
    ("<frozen importlib._bootstrap>", {"_find_and_load"}),
    # asyncpg looks for certificates when it connects.
    ("asyncpg/connect_utils.py", {"_dot_postgresql_path", "_parse_connect_dsn_and_args"}),
    # On an event loop of its own.
    ("headrace/ledger/migrating.py", {"_migrate", "upgrade"}),
)


class BlockedLoopError(AssertionError):
    """A step of the event loop computed for too long."""


class StepClock:
    """Measures how much CPU time the product takes in each step of an event loop, by looking at its thread often."""

    def __init__(self) -> None:
        self.slow: list[str] = []
        self._thread = threading.get_ident()
        self._clock = time.pthread_getcpuclockid(self._thread)
        self._step: Any = None
        self._seconds = 0.0
        self._ended = threading.Event()
        # When the garbage collector began, and what it has taken so far: it says nothing about the code under test.
        self._collecting = [0.0, 0.0]
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def start(self) -> None:
        gc.callbacks.append(self._count_collection)
        self._sampler.start()

    def stop(self) -> None:
        self._ended.set()
        self._sampler.join()
        gc.callbacks.remove(self._count_collection)

    def run(self, handle: Any, original: Any) -> None:
        """Run a step of the loop."""
        self._seconds, self._step = 0.0, handle
        try:
            original(handle)
        finally:
            self._step = None
            if self._seconds > MAX_STEP_CPU_SECONDS:
                owner = getattr(handle._callback, "__self__", None)
                self.slow.append(f"{self._seconds:.2f} s of CPU in {owner or handle!r}")

    def _sample(self) -> None:
        before, last = self._cpu_seconds(), None
        while not self._ended.wait(SAMPLE_SECONDS):
            step, now = self._step, self._cpu_seconds()
            if step is not None and step is last and _is_ours(sys._current_frames().get(self._thread)):
                seconds = now - before
                self._seconds += seconds if seconds > LONG_SAMPLE_SECONDS else min(seconds, MOST_OF_A_SAMPLE_SECONDS)
            before, last = now, step

    def _cpu_seconds(self) -> float:
        return time.clock_gettime(self._clock) - self._collecting[1]

    def _count_collection(self, phase: str, _info: dict[str, int]) -> None:
        if threading.get_ident() != self._thread:
            return
        if phase == "start":
            self._collecting[0] = time.thread_time()
        else:
            self._collecting[1] += time.thread_time() - self._collecting[0]


def _is_ours(frame: FrameType | None) -> bool:
    """Whether the product is on the stack, and does what it does more than once."""
    ours = False
    # Read from another thread, the last of them may be no frame any more.
    while isinstance(frame, FrameType):
        name = frame.f_code.co_filename
        if name.endswith(ONCE):
            return False
        ours = ours or name.startswith(PRODUCT)
        frame = frame.f_back
    return ours


@contextmanager
def guarded_loop() -> Iterator[None]:
    """Fail on blocking calls under our code, and on a loop step in which it takes more than half a CPU second."""
    original = asyncio.events.Handle._run
    clock = StepClock()

    def measured(handle: Any) -> None:
        if threading.get_ident() == clock._thread:
            clock.run(handle, original)
        else:
            original(handle)

    blocking = BlockBuster(scanned_modules=["headrace", "functions"])
    for function in blocking.functions.values():
        for file, names in TOLERATED:
            function.can_block_in(file, names)
    blocking.activate()
    clock.start()
    asyncio.events.Handle._run = measured  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        asyncio.events.Handle._run = original  # type: ignore[method-assign]
        clock.stop()
        blocking.deactivate()
    if clock.slow:
        raise BlockedLoopError("The event loop was blocked: " + "; ".join(clock.slow))
