"""What the Redis client promises to whoever waits through it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from redis.asyncio import Redis

TURNS = 40


async def test_who_leaves_at_any_turn_of_the_loop_waits_no_longer(redis: Redis, tenant: str) -> None:
    async def watch() -> None:
        await redis.xread({f"{tenant}-none": "0"}, block=4000)

    await redis.ping()
    for turns in range(1, TURNS):
        watching = asyncio.create_task(watch())
        for _ in range(turns):
            await asyncio.sleep(0)
        watching.cancel()
        done, _ = await asyncio.wait({watching}, timeout=2.0)
        assert done, f"a cancellation after {turns} turns of the loop is lost"
        assert watching.cancelled()


async def test_no_command_takes_the_answer_of_one_that_was_left(redis: Redis, tenant: str) -> None:
    async def add() -> None:
        await redis.incrby(f"{tenant}-sum", 1000)

    for turns in range(1, TURNS):
        adding = asyncio.create_task(add())
        for _ in range(turns):
            await asyncio.sleep(0)
        adding.cancel()
        with suppress(asyncio.CancelledError):
            await adding
        assert await redis.echo(f"{turns}") == f"{turns}".encode()
