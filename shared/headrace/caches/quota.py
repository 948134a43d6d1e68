"""How much a tenant's answers may take up, and who goes when it is more: what is worth least."""

from __future__ import annotations

from typing import Any, cast

from redis.asyncio import Redis

from headrace.cache_layout import entry_key, ledger_keys, partition_key
from headrace.caches.scripts import EVICT


class Quota:
    """A tenant's quota. Raises what the Redis client raises."""

    def __init__(self, client: Redis, *, tenant_bytes: int, tenant_entries: int) -> None:
        # The client's own types do not know that its replies are bytes.
        self._client = cast("Any", client)
        self._tenant_bytes = tenant_bytes
        self._tenant_entries = tenant_entries
        self._evict = client.register_script(EVICT)

    def is_over(self, size: bytes | None, entries: bytes | None) -> bool:
        """Whether the ledger's `bytes` and `entries` are more than a tenant may have."""
        return int(size or 0) > self._tenant_bytes or int(entries or 0) > self._tenant_entries

    async def make_room(self, tenant: str, *, most: int | None = None) -> int:
        """Evict until the tenant is within its quota, or `most` have gone: how many did."""
        worth, tally, _ = ledger_keys(tenant)
        evicted = 0
        while (most is None or evicted < most) and self.is_over(*await self._client.hmget(tally, ["bytes", "entries"])):
            lowest = await self._client.zrange(worth, 0, 0)
            if not lowest:
                break
            member = lowest[0].decode()
            name, entry, _ = member.split(":")
            keys = [worth, tally, entry_key(tenant, name, entry), partition_key(tenant, name)]
            evicted += int(await self._evict(keys=keys, args=[member, entry]))
        return evicted
