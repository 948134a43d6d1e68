"""A limit on how long a task waits for news, at the cost of one timer for all of its waits."""

from __future__ import annotations

import asyncio
from types import TracebackType

from headrace.concurrency.deadlines import LOOKS


class IdleLimit:
    """Each `with` block is a wait; one that ends the `seconds` since `reset`, or since it was made, raises TimeoutError.

    What happens between the waits takes as long as it likes, and how late this event loop runs does not count: of the time
    between two looks, no more counts than was to be between them (see deadlines.py). asyncio.timeout makes and cancels a
    timer for each wait, which costs a stream of tokens a tenth of its time.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._part_seconds = seconds / LOOKS
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Task[object] | None = None
        self._waited = 0.0
        self._since = 0.0
        self._is_expired = False
        self._timer: asyncio.TimerHandle | None = None

    def reset(self) -> None:
        """There was news."""
        self._waited = 0.0

    def close(self) -> None:
        """Let the timer go."""
        if self._timer is not None:
            self._timer.cancel()

    def __enter__(self) -> None:
        self._waiting, self._since = asyncio.current_task(), self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._part_seconds, self._look)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._waiting = self._waiting, None
        self._count()
        if self._is_expired and task is not None:
            self._is_expired = False
            if task.uncancel() == 0 and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def _look(self) -> None:
        """Where the wait is too long, end it; else look again soon."""
        self._timer = None
        if self._waiting is None:
            return
        self._count()
        left = self._seconds - self._waited
        if left > 0:
            self._timer = self._loop.call_later(min(left, self._part_seconds), self._look)
        else:
            self._is_expired = True
            self._waiting.cancel()

    def _count(self) -> None:
        """Add what was waited since the wait began, or since the last look at it."""
        now = self._loop.time()
        self._waited += min(now - self._since, self._part_seconds)
        self._since = now
