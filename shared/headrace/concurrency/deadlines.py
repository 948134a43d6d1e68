"""A deadline for a server that measures the server, and not how late this process's own event loop runs."""

from __future__ import annotations

import asyncio
from types import TracebackType

# A deadline is so many looks of the event loop, with a part of the time before each.
LOOKS = 5


class ServerDeadline:
    """Like asyncio.timeout, but a loop that runs late gets to what has come meanwhile before the time is said to be up.

    The time is divided into LOOKS parts, each of which begins when the loop has come round. On an idle loop that is the
    same; on one that needs 100 ms for a round, a deadline of 50 ms lasts as long as five rounds, within which it has
    read what a server answered at once. The same goes for an environment that Lambda has frozen and thawed.
    """

    def __init__(self, seconds: float) -> None:
        self._part_seconds = seconds / LOOKS
        self._left = LOOKS
        self._timeout = asyncio.timeout(None)
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._timer = self._loop.call_later(self._part_seconds, self._look)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _look(self) -> None:
        self._left -= 1
        if self._left:
            self._timer = self._loop.call_later(self._part_seconds, self._look)
        else:
            self._timeout.reschedule(self._loop.time())
