"""A bounded thread pool for a synchronous library, closed without blocking the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager


@asynccontextmanager
async def open_threads(count: int, name: str) -> AsyncIterator[ThreadPoolExecutor]:
    """Up to `count` threads; leaving waits for what they still do."""
    executor = ThreadPoolExecutor(count, name)
    try:
        yield executor
    finally:
        await asyncio.to_thread(executor.shutdown)
