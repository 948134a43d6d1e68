"""What was opened with settings, and is opened anew when they have changed: a rotated secret reaches what runs.

A secret that can't be read, or that nothing can be opened with, changes nothing: what is open goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Generic, TypeVar

from headrace.concurrency.tasks import running

LOOK_SECONDS = 300.0

S = TypeVar("S")
D = TypeVar("D")
logger = logging.getLogger(__name__)


class Renewing(Generic[S, D]):
    """Opens what `open_with` makes of what `read` says, and looks at most every `look_seconds` whether `read` says something else.

    What was replaced stays open for `linger_seconds`, for whoever still works with it.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[S]],
        open_with: Callable[[S], AbstractAsyncContextManager[D]],
        *,
        look_seconds: float = LOOK_SECONDS,
        linger_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._open_with = open_with
        self._look_seconds = look_seconds
        self._linger_seconds = linger_seconds
        self._clock = clock
        self._looked_at = 0.0
        self._opened: tuple[S, AsyncExitStack, D] | None = None
        self._retired: set[AsyncExitStack] = set()

    async def current(self) -> D:
        """What is open now, with the settings of the last look. A failed first opening is tried again at the next call."""
        if self._opened is None:
            self._opened = await self._open(await self._read())
            self._looked_at = self._clock()
        elif self._clock() - self._looked_at >= self._look_seconds:
            self._looked_at = self._clock()
            await self._renew(self._opened)
        return self._opened[2]

    @asynccontextmanager
    async def watched(self, use: Callable[[D], None]) -> AsyncIterator[D]:
        """What is open; `use` is called with each that takes its place."""
        try:
            opened = await self.current()
            async with running(self._watch(use)):
                yield opened
        finally:
            await self.aclose()

    async def look_now(self, use: Callable[[D], None]) -> None:
        """Look at once, and have `use` called if something else is open now: a process that was restored has slept for long."""
        self._looked_at = float("-inf")
        await self._look(use)

    async def aclose(self) -> None:
        """Close what is open, and what lingers."""
        opened, self._opened = self._opened, None
        for stack in [*self._retired, *([opened[1]] if opened else [])]:
            await stack.aclose()
        self._retired.clear()

    async def _watch(self, use: Callable[[D], None]) -> None:
        while True:
            await asyncio.sleep(self._look_seconds)
            await self._look(use)
            await self._retire()

    async def _look(self, use: Callable[[D], None]) -> None:
        before = self._opened
        now = await self.current()
        if before is not None and now is not before[2]:
            use(now)

    async def _retire(self) -> None:
        """Let those who work with what was replaced finish, then close it."""
        if self._retired:
            await asyncio.sleep(self._linger_seconds)
            for stack in list(self._retired):
                self._retired.discard(stack)
                await stack.aclose()

    async def _renew(self, opened: tuple[S, AsyncExitStack, D]) -> None:
        try:
            settings = await self._read()
            if settings == opened[0]:
                return
            self._opened = await self._open(settings)
        except Exception as error:  # noqa: BLE001 - whatever it is, what is open works
            # The sentence of a fault of ours holds no secret; of another one, only the kind is sure to.
            logger.warning("The settings could not be renewed (%s); the last ones stay.", type(error).__name__)
            return
        logger.info("The settings have changed: all connections are opened anew.")
        if self._linger_seconds:
            self._retired.add(opened[1])
        else:
            await opened[1].aclose()

    async def _open(self, settings: S) -> tuple[S, AsyncExitStack, D]:
        async with AsyncExitStack() as stack:
            opened = await stack.enter_async_context(self._open_with(settings))
            return settings, stack.pop_all(), opened
