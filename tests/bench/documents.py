"""A tenant with very many documents: a page of them, their counts, watchers, and a question's share of the registry."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from headrace.clients.redis import open_redis
from headrace.redis_state.registry import RedisRegistry
from headrace.types import Document, DocumentKey, DocumentState
from tests.support.processes import redis_server

TENANT = "acme"
NUMBERS = (10, 10_000, 100_000)
AT_ONCE = 200
TIMES = 50
WATCHERS = 10
QUIET_SECONDS = 9.0


async def run() -> None:
    """Print a row for each number of documents."""
    print(
        "documents   page of 100   counts   page of failed   a question's snapshot (ms)   commands a second, 10 watchers"
    )
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as url:
        async with open_redis(url) as client, open_redis(url) as listening:
            registry, there = RedisRegistry(client, listening), 0
            for number in NUMBERS:
                await _fill(registry, there, number)
                there = number
                await registry.page(TENANT, limit=1)
                middle = f"documents/{TENANT}/{number // 2:06}.txt"
                keys = [f"documents/{TENANT}/{n:06}.txt" for n in range(10)]
                cells = [
                    await _milliseconds(partial(registry.page, TENANT, after=middle, limit=100)),
                    await _milliseconds(partial(registry.page, TENANT, limit=0)),
                    await _milliseconds(partial(registry.page, TENANT, state=DocumentState.FAILED, limit=100)),
                    await _milliseconds(partial(registry.snapshot, TENANT, keys)),
                ]
                position = await registry.latest_change(TENANT)
                async with asyncio.TaskGroup() as group:
                    for _ in range(WATCHERS):
                        group.create_task(_watch(registry, position))
                    await asyncio.sleep(0.2)
                    before = (await client.info("stats"))["total_commands_processed"]
                    await asyncio.sleep(QUIET_SECONDS - 1)
                    asked = (await client.info("stats"))["total_commands_processed"] - before - 1
                print(
                    f"{number:>9}"
                    + "".join(f"{cell:>14.2f}" for cell in cells)
                    + f"{asked / (QUIET_SECONDS - 1):>14.1f}"
                )


async def _fill(registry: RedisRegistry, there: int, number: int) -> None:
    async def put(n: int) -> None:
        key = DocumentKey(f"documents/{TENANT}/{n:06}.txt")
        state = DocumentState.FAILED if n % 100 == 0 else DocumentState.READY
        attempt = await registry.begin(key, embedding_model="m")
        await registry.save(Document(key.key, state, chunks=3, generation=attempt.number, size_bytes=4096), attempt)

    for start in range(there, number, AT_ONCE):
        await asyncio.gather(*(put(n) for n in range(start, min(number, start + AT_ONCE))))


async def _watch(registry: RedisRegistry, position: str) -> None:
    """Wait for changes as the stream of `GET /documents` does."""
    loop = asyncio.get_running_loop()
    end = loop.time() + QUIET_SECONDS
    while (left_seconds := end - loop.time()) > 0:
        await registry.changes(TENANT, position, wait_seconds=left_seconds)


async def _milliseconds(call: Callable[[], Awaitable[object]]) -> float:
    """The median of some calls, one after the other."""
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        await call()
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)
