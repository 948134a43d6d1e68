"""What is opened by whoever first needs it, and closed with its context."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class OnDemand(Generic[T]):
    """Opens once, at its first use. `opening` is called in a thread: what it imports holds nobody up."""

    def __init__(self, opening: Callable[[], AbstractAsyncContextManager[T]], stack: AsyncExitStack) -> None:
        self._opening = opening
        self._stack = stack
        self._lock = asyncio.Lock()
        self._opened: list[T] = []

    async def get(self) -> T:
        """What was opened. Raises what the opening raises, at each use until it goes well."""
        async with self._lock:
            if not self._opened:
                context = await asyncio.to_thread(self._opening)
                self._opened.append(await self._stack.enter_async_context(context))
        return self._opened[0]


@asynccontextmanager
async def on_demand(opening: Callable[[], AbstractAsyncContextManager[T]]) -> AsyncIterator[OnDemand[T]]:
    """It, closed at the end if it was ever opened."""
    async with AsyncExitStack() as stack:
        yield OnDemand(opening, stack)
