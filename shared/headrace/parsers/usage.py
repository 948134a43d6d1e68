"""What files that are read at once take from each other: the busiest give way, and all together stay within the memory.

Linux alone says what another process uses; elsewhere only each file's own limits hold.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

LOOK_SECONDS = 0.1
# For each second of processor time a reader gives way by so many steps of nice, each worth about a fifth.
NICE_PER_SECOND = 4
MOST_NICE = 19
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class Reading:
    """A process that reads a file, the leader of a group of its own."""

    pid: int
    may_be_put_out: bool = True
    is_put_out: bool = False
    nice: int = 0
    memory_bytes: int = 0
    first_bytes: int = 0

    def kill(self) -> None:
        """End it, and what it has started."""
        for end in (os.killpg, os.kill):
            with suppress(ProcessLookupError, PermissionError):
                end(self.pid, signal.SIGKILL)

    def look(self) -> None:
        """See what it uses by now, and let it give way to those that have used less."""
        use = _use_of(self.pid)
        if use is None:
            return
        seconds, resident_bytes = use
        # It begins with what it shares with the process that it comes from.
        self.first_bytes = self.first_bytes or resident_bytes
        self.memory_bytes = max(0, resident_bytes - self.first_bytes)
        nice = min(MOST_NICE, int(seconds * NICE_PER_SECOND))
        if nice > self.nice:
            self.nice = nice
            with suppress(ProcessLookupError, PermissionError):
                os.setpriority(os.PRIO_PGRP, self.pid, nice)


@dataclass(slots=True)
class Watch:
    """Looks after the readings that are under way, for as long as there are any."""

    memory_bytes: int
    readings: list[Reading] = field(default_factory=list)
    _task: asyncio.Task[None] | None = None

    @contextmanager
    def over(self, reading: Reading) -> Iterator[None]:
        """Look after it too."""
        self.readings.append(reading)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look())
        try:
            yield
        finally:
            self.readings.remove(reading)

    async def _look(self) -> None:
        while self.readings:
            await asyncio.to_thread(_look_at, tuple(self.readings))
            if len(self.readings) > 1 and sum(r.memory_bytes for r in self.readings) > self.memory_bytes:
                self._put_one_out()
            await asyncio.sleep(LOOK_SECONDS)

    def _put_one_out(self) -> None:
        """The largest makes room for the others; one that has its turn alone stays."""
        largest = max(
            (r for r in self.readings if r.may_be_put_out and not r.is_put_out),
            key=lambda r: r.memory_bytes,
            default=None,
        )
        if largest is not None:
            largest.is_put_out = True
            largest.kill()


def _look_at(readings: tuple[Reading, ...]) -> None:
    for reading in readings:
        reading.look()


def _use_of(pid: int) -> tuple[float, int] | None:
    """Processor seconds, with those of its children that have ended, and resident bytes. None where nobody says.

    Source: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:  # noqa: PTH123 - ten times a second
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return sum(map(int, fields[11:15])) / _TICKS, int(fields[21]) * _PAGE_BYTES
