"""One event loop and one set of open dependencies for the life of a Lambda execution environment.

`asyncio.run` per event would close the loop under pooled connections; here the dependencies open at the first event and
stay open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

D = TypeVar("D")
T = TypeVar("T")


class HandlerLoop(Generic[D]):
    """Runs coroutines for a synchronous handler, with dependencies that are opened once."""

    def __init__(self, open_dependencies: Callable[[], AbstractAsyncContextManager[D]]) -> None:
        self._open_dependencies = open_dependencies
        self._runner = asyncio.Runner()
        self._opened: tuple[AbstractAsyncContextManager[D], D] | None = None

    def run(self, task: Callable[[D], Awaitable[T]]) -> T:
        """Run `task` with the dependencies and return what it returns. A failed opening is tried again at the next call."""
        return self._runner.run(self._run(task))

    def open(self) -> None:
        """Open the dependencies now, on a loop that stays the thread's current one."""
        self._runner.run(self._open())

    def close(self) -> None:
        """Close the dependencies and the loop."""
        if self._opened is not None:
            context, self._opened = self._opened[0], None
            self._runner.run(_exit(context))
        self._runner.close()

    async def _run(self, task: Callable[[D], Awaitable[T]]) -> T:
        return await task(await self._open())

    async def _open(self) -> D:
        if self._opened is None:
            context = self._open_dependencies()
            self._opened = (context, await context.__aenter__())
        return self._opened[1]


async def _exit(context: AbstractAsyncContextManager[D]) -> None:
    await context.__aexit__(None, None, None)
