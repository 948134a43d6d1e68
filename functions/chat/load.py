"""How much this process has to do, and when it takes no more: a clear no at once is better than a late one for everybody.

Three signs: requests that are open; an event loop that runs late; and searches that take long, which is what a store, a
judge or an embedder that has too much to do looks like from here. How many may search at once is found by trying: a few
more while searches are quick, a good deal fewer when they are not (additive increase, multiplicative decrease).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from headrace.concurrency.tasks import running
from headrace.errors import OverloadedError

LOOK_SECONDS = 0.1
# So many looks in a row must have come late: a process that Lambda has thawed was late once, for as long as it was frozen.
LOOKS = 3
LATE_SECONDS = 1.0
RETRY_SECONDS = 2.0
# From the question to its passages, with the judge of cached answers, which may take two seconds of it.
SLOW_SEARCH_SECONDS = 3.0
FEWEST_SEARCHES = 8
MORE_A_ROUND = 4.0
FEWER = 0.8
FEWER_EVERY_SECONDS = 1.0


class Load:
    """Counts the requests that are under way, and watches how late the event loop runs.

    Above `most_open` requests, or while the loop runs more than LATE_SECONDS late, no request is let in.
    """

    def __init__(self, most_open: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_open = most_open
        self._clock = clock
        self._open = 0
        self._searches = 0
        self._most_searches = float(most_open)
        self._fewer_at = 0.0
        self._late_by: deque[float] = deque(maxlen=LOOKS)

    @property
    def open(self) -> int:
        """How many requests are under way."""
        return self._open

    @contextmanager
    def request(self) -> Iterator[None]:
        """A request that is under way. Raises OverloadedError when it is one too many."""
        if self._open >= self._most_open:
            raise self._overloaded(f"{self._open} requests are under way, and more would only wait")
        if len(self._late_by) == LOOKS and min(self._late_by) > LATE_SECONDS:
            raise self._overloaded(f"this process runs {min(self._late_by):.0f} s late")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    def search(self) -> Search:
        """A search that begins, for an answer. Raises OverloadedError when there are as many as are done in time."""
        if self._searches >= int(self._most_searches):
            raise self._overloaded(f"{self._searches} questions are being searched for, as many as are done in time")
        self._searches += 1
        return Search(self, self._clock())

    def searched(self, began_at: float) -> None:
        """A search has ended: from how long it took is learned how many there may be."""
        self._searches -= 1
        now = self._clock()
        if now - began_at <= SLOW_SEARCH_SECONDS:
            self._most_searches = min(self._most_open, self._most_searches + MORE_A_ROUND / self._most_searches)
        elif now - self._fewer_at > FEWER_EVERY_SECONDS:
            self._most_searches = max(FEWEST_SEARCHES, self._most_searches * FEWER)
            self._fewer_at = now

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Load]:
        """Watch the event loop meanwhile."""
        async with running(self._watch()):
            yield self

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            self._late_by.append(loop.time() - due)

    def _overloaded(self, why: str) -> OverloadedError:
        return OverloadedError(f"Too busy now: {why}. Try again in a moment.", retry_after_seconds=RETRY_SECONDS)


@dataclass(slots=True)
class Search:
    """A search that is under way; it ends once, however often it is told to."""

    _load: Load
    _began_at: float
    _has_ended: bool = False

    def end(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._load.searched(self._began_at)
