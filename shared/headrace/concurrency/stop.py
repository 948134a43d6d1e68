"""A way to end what a task waits for, from outside, so that the task itself goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Stop:
    """Asked for once, by anybody on the loop; heeded by one task."""

    def __init__(self) -> None:
        self.is_asked = False
        self._timeout: asyncio.Timeout | None = None

    def ask(self) -> None:
        """Ask for it. What the task waits for within `heeded` is cancelled."""
        if not self.is_asked:
            self.is_asked = True
            if self._timeout is not None:
                self._timeout.reschedule(0)

    @asynccontextmanager
    async def heeded(self) -> AsyncIterator[None]:
        """Leave the block, without a fault, as soon as it is asked for: a deadline that comes when somebody says so.

        Where the block yields, whoever takes what it yields must not wait for anything before the next one.
        """
        deadline = asyncio.timeout(None)
        try:
            async with deadline as self._timeout:
                if self.is_asked:
                    deadline.reschedule(0)
                yield
        except TimeoutError:
            if not deadline.expired():
                raise
        finally:
            self._timeout = None
