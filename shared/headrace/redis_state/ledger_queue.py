"""Records that wait for the ledger, in a stream of Redis: chat adds to it, maintenance takes from it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from headrace.clients.redis import registry_use
from headrace.errors import UnavailableError
from headrace.types import LedgerEntry, decode_entry, encode_entry

KEY = "headrace:ledger"
# Some weeks of a database that is away; then the oldest records go, for Redis has other things to keep.
MOST_WAITING = 100_000
PUT_SECONDS = 0.5
WHAT = "The ledger's queue (Redis)"

logger = logging.getLogger(__name__)


class RedisLedgerQueue:
    """A LedgerQueue on a Redis client, which stays the caller's to close."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def put(self, entry: LedgerEntry) -> None:
        try:
            async with registry_use(PUT_SECONDS, WHAT):
                fields: dict[Any, Any] = {"entry": encode_entry(entry)}
                await self._client.xadd(KEY, fields, maxlen=MOST_WAITING, approximate=True)
        except UnavailableError as error:
            logger.warning("A record of the ledger is lost: %s", error)

    async def take(self, most: int) -> list[tuple[str, LedgerEntry]]:
        async with registry_use(what=WHAT):
            found: Any = await self._client.xrange(KEY, count=most)
        taken: list[tuple[str, LedgerEntry]] = []
        strange: list[str] = []
        for name, fields in found:
            try:
                taken.append((name.decode(), decode_entry(fields[b"entry"])))
            except (ValueError, KeyError):
                strange.append(name.decode())
        if strange:
            # Of another version, and nobody's who waits: what is behind them shall not wait for ever.
            logger.error("%d records in the ledger's queue can't be read, and are left out.", len(strange))
            await self.remove(strange)
            return taken or await self.take(most)
        return taken

    async def remove(self, names: Sequence[str]) -> None:
        if names:
            async with registry_use(what=WHAT):
                await self._client.xdel(KEY, *names)

    async def waiting(self) -> int:
        async with registry_use(what=WHAT):
            return int(await self._client.xlen(KEY))
