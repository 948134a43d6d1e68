"""One event loop and one set of open dependencies for the life of a Lambda execution environment.

`asyncio.run` per event would close the loop under pooled connections; here the dependencies open at the first event and
stay open, until their settings change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from headrace.concurrency.renewing import Renewing

D = TypeVar("D")
T = TypeVar("T")


class HandlerLoop(Generic[D]):
    """Runs coroutines for a synchronous handler, with dependencies that are opened once, and anew between events if need be."""

    def __init__(self, dependencies: Renewing[Any, D]) -> None:
        self._dependencies = dependencies
        self._runner = asyncio.Runner()

    def run(self, task: Callable[[D], Awaitable[T]]) -> T:
        """Run `task` with the dependencies and return what it returns. A failed opening is tried again at the next call."""
        return self._runner.run(self._run(task))

    def open(self) -> None:
        """Open the dependencies now, on a loop that stays the thread's current one."""
        self._runner.run(self._dependencies.current())

    def close(self) -> None:
        """Close the dependencies and the loop."""
        self._runner.run(self._dependencies.aclose())
        self._runner.close()

    async def _run(self, task: Callable[[D], Awaitable[T]]) -> T:
        return await task(await self._dependencies.current())
