"""The log of runs in Redis or Valkey: a stream of messages a run, and a lease that says that it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from redis.asyncio import Redis

from headrace.clients.redis import registry_use
from headrace.errors import RegistryUnavailableError
from headrace.redis_state.layout import run_keys
from headrace.redis_state.scripts import script
from headrace.redis_state.streams import entries_of
from headrace.types import RunName

# Nobody who reads or makes a run waits longer than that for one command.
TIMEOUT_SECONDS = 0.5
# So many commands are on their way at once, and so many connections are taken: a burst of runs needs no more.
WRITERS = 16
RUNS = "The log of runs (Redis)"


class RedisRunLog:
    """A RunLog on Redis clients, which stay the caller's to close.

    `kept_seconds` after its last message a run is forgotten. Each reader waits on a connection of its own, of the client
    for `listening`.
    """

    def __init__(
        self, client: Redis, listening: Redis | None = None, *, kept_seconds: int = 120, lease_seconds: float = 3.0
    ) -> None:
        self._client = client
        self._listening = listening or client
        self._kept_seconds = kept_seconds
        self._lease_seconds = lease_seconds
        self._append = script(client, "append_run")
        self._writers = asyncio.Semaphore(WRITERS)

    @property
    def lease_seconds(self) -> float:
        return self._lease_seconds

    async def append(self, run: RunName, messages: Sequence[bytes], *, after: int, ends: bool) -> bool:
        args = [after, int(self._lease_seconds * 1000), self._kept_seconds, "1" if ends else "", *messages]
        async with registry_use(TIMEOUT_SECONDS, RUNS), self._writers:
            said = await self._append(keys=list(run_keys(run)), args=args)
        if said < 0:
            raise RegistryUnavailableError("The log of a run (Redis) was lost, so it can't be resumed elsewhere.")
        return bool(said)

    async def read(self, run: RunName, after: int, *, wait_seconds: float = 0.0) -> list[bytes]:
        _, messages = run_keys(run)
        block = int(wait_seconds * 1000) or None
        client = self._listening if block else self._client
        async with registry_use(wait_seconds + TIMEOUT_SECONDS, RUNS):
            found = await client.xread({messages: f"{after}-0"}, block=block)
        return [fields[b"m"] for _, fields in entries_of(found)]

    async def is_going_on(self, run: RunName) -> bool:
        async with registry_use(TIMEOUT_SECONDS, RUNS):
            return bool(await self._client.exists(run_keys(run)[0]))

    async def stop(self, run: RunName) -> bool:
        async with registry_use(TIMEOUT_SECONDS, RUNS):
            return bool(await self._client.set(run_keys(run)[0], "stop", xx=True, keepttl=True))
