"""One event loop and one set of open parts for the life of a Lambda execution environment.

`asyncio.run` per event would close the loop under pooled connections; here the
parts open at the first event and stay open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

P = TypeVar("P")
T = TypeVar("T")


class Sandbox(Generic[P]):
    """Runs coroutines for a synchronous handler, with parts from `open_parts` that are opened once."""

    def __init__(self, open_parts: Callable[[], AbstractAsyncContextManager[P]]) -> None:
        self._open_parts = open_parts
        self._runner = asyncio.Runner()
        self._opened: tuple[AbstractAsyncContextManager[P], P] | None = None

    def run(self, task: Callable[[P], Awaitable[T]]) -> T:
        """Run `task` with the parts and return what it returns. A failed opening is tried again at the next call."""
        return self._runner.run(self._run(task))

    def open(self) -> None:
        """Open the parts now, on a loop that stays the thread's current one."""
        self._runner.run(self._open())

    def close(self) -> None:
        """Close the parts and the loop."""
        if self._opened is not None:
            parts, self._opened = self._opened[0], None
            self._runner.run(_exit(parts))
        self._runner.close()

    async def _run(self, task: Callable[[P], Awaitable[T]]) -> T:
        return await task(await self._open())

    async def _open(self) -> P:
        if self._opened is None:
            context = self._open_parts()
            self._opened = (context, await context.__aenter__())
        return self._opened[1]


async def _exit(context: AbstractAsyncContextManager[P]) -> None:
    await context.__aexit__(None, None, None)
