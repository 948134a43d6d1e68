"""A task that runs beside the code that started it, and never outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@asynccontextmanager
async def running(coroutine: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Run the coroutine as a task; leaving cancels it if it is not done, and drops a failure that nobody awaited."""
    task = asyncio.create_task(coroutine)
    try:
        yield task
    finally:
        # To wait for what is done takes a turn of the loop.
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled():
            task.exception()
