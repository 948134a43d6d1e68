"""How much a tenant's answers may take up; when it is more, entries with the lowest scores are evicted."""

from __future__ import annotations

from typing import Any, cast

from redis.asyncio import Redis

from headrace.redis_state.layout import accounts, entry_key, partition_key
from headrace.redis_state.scripts import script


class Quota:
    """A tenant's quota. Raises what the Redis client raises."""

    def __init__(self, client: Redis, *, tenant_bytes: int, tenant_entries: int) -> None:
        # The client's own types do not know that its replies are bytes.
        self._client = cast("Any", client)
        self._tenant_bytes = tenant_bytes
        self._tenant_entries = tenant_entries
        self._evict = script(client, "evict")

    def is_over(self, size: bytes | None, entries: bytes | None) -> bool:
        """Whether the counters `bytes` and `entries` are more than a tenant may have."""
        return int(size or 0) > self._tenant_bytes or int(entries or 0) > self._tenant_entries

    async def make_room(self, tenant: str, *, most: int | None = None) -> int:
        """Evict until the tenant is within its quota, or `most` have gone: how many did."""
        scores, counters, _ = accounts(tenant)
        evicted = 0
        while (most is None or evicted < most) and self.is_over(
            *await self._client.hmget(counters, ["bytes", "entries"])
        ):
            lowest = await self._client.zrange(scores, 0, 0)
            if not lowest:
                break
            member = lowest[0].decode()
            name, entry, _ = member.split(":")
            keys = [scores, counters, entry_key(tenant, name, entry), partition_key(tenant, name)]
            evicted += int(await self._evict(keys=keys, args=[member, entry]))
        return evicted
