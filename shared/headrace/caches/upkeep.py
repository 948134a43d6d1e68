"""Keeps a tenant's cache in order: looks through its entries page by page, packs its indexes, counts, and takes out.

Every step may be repeated, and may meet another one of its kind or live traffic: what it changes is checked in the
script that changes it.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from headrace.cache_layout import entry_key, ledger_keys, partition_key, registry_key, search_index
from headrace.caches.mirror import Mirror
from headrace.caches.quota import Quota
from headrace.caches.scripts import AUDIT, COMPACT, FORGET, RECOUNT, RETIRE
from headrace.redis_client import registry_faults
from headrace.types import CacheStats, Retired, Wanted

logger = logging.getLogger(__name__)

PAGE = 200
# A partition is packed when so many changes have come since it was last, in blocks of so many rows.
CHANGES = 256
BLOCK = 1024
# Where a sweep of all tenants left off: not a tenant's.
PLACE_KEY = "headrace:maintenance:place"
PLACE_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class _Member:
    """An entry as the ledger lists it: `<partition>:<id>:<bytes>`."""

    text: str

    @property
    def partition(self) -> str:
        return self.text.split(":")[0]

    @property
    def id(self) -> str:
        return self.text.split(":")[1]


class RedisUpkeep:
    """A CacheUpkeep on a Redis client, which stays the caller's to close."""

    def __init__(self, client: Redis, *, tenant_bytes: int, tenant_entries: int) -> None:
        # The client's own types do not know that its replies are bytes.
        self._client = cast("Any", client)
        self._quota = Quota(client, tenant_bytes=tenant_bytes, tenant_entries=tenant_entries)
        self._audit = client.register_script(AUDIT)
        self._compact = client.register_script(COMPACT)
        self._forget = client.register_script(FORGET)
        self._recount = client.register_script(RECOUNT)
        self._retire = client.register_script(RETIRE)

    async def sweep(
        self, tenant: str, cursor: int, *, embedding_model: str, dry_run: bool
    ) -> tuple[int, Mapping[str, int]]:
        worth, tally, wanted = ledger_keys(tenant)
        with registry_faults():
            cursor, listed = await self._client.zscan(worth, cursor, count=PAGE)
            members = [_Member(name.decode()) for name, _ in listed]
            stale = await self._of_other_models(tenant, embedding_model)
            kept = [member for member in members if member.partition not in stale]
            keys = [registry_key(tenant), worth, tally, wanted, *self._places(tenant, kept)]
            args = ["1" if dry_run else "", *(part for member in kept for part in (member.text, member.id))]
            verdicts = await self._audit(keys=keys, args=args) if kept else []
            report = Counter(verdict.decode() for verdict in verdicts)
            moved = [member for member in members if member.partition in stale]
            report[Retired.MODEL.value] += len(moved)
            if moved and not dry_run:
                await self._retire_members(tenant, moved, Retired.MODEL, again=True)
        return int(cursor), {name: count for name, count in report.items() if count}

    async def settle(self, tenant: str, *, dry_run: bool) -> Mapping[str, int]:
        with registry_faults():
            worth, tally, _ = ledger_keys(tenant)
            if not dry_run:
                await self._recount(keys=[worth, tally])
            evicted = 0 if dry_run else await self._quota.make_room(tenant)
            packed = 0
            for name, kind in await self._partitions(tenant):
                if kind == "mirror" and not dry_run:
                    packed += await self._pack(partition_key(tenant, name))
            if not dry_run:
                await self._forget_partitions(tenant)
        return {"evicted": evicted, "packed": packed}

    async def invalidate(
        self, tenant: str, *, document: str = "", answer_id: str = "", question: str = "", dry_run: bool
    ) -> int:
        """Take out the answers that rest on a document, or have this id, or whose question has these words; or all."""
        found: list[_Member] = []
        worth, _, _ = ledger_keys(tenant)
        with registry_faults():
            async for name, _ in self._client.zscan_iter(worth, count=PAGE):
                member = _Member(name.decode())
                entry = entry_key(tenant, member.partition, member.id)
                documents, asked = await self._client.hmget(entry, ["documents", "question"])
                if documents is None:
                    continue
                rests_on = not document or document in json.loads(documents)[::2]
                is_named = not answer_id or answer_id == f"{member.partition}-{member.id}"
                says = not question or question.casefold() in asked.decode().casefold()
                if rests_on and is_named and says:
                    found.append(member)
            if dry_run:
                return len(found)
            return await self._retire_members(tenant, found, Retired.INVALIDATED, again=False)

    async def flush(self, tenant: str, *, dry_run: bool) -> int:
        """Take out everything: indexes first, without which nothing is served, then the entries."""
        worth, _, wanted = ledger_keys(tenant)
        with registry_faults():
            count = int(await self._client.zcard(worth))
            if dry_run:
                return count
            names = [name for name, _ in await self._partitions(tenant)]
            for name in names:
                await self._client.delete(partition_key(tenant, name))
            members = [_Member(name.decode()) async for name, _ in self._client.zscan_iter(worth, count=PAGE)]
            await self._retire_members(tenant, members, Retired.INVALIDATED, again=False)
            await self._client.delete(wanted)
            await self._forget_partitions(tenant)
        return count

    async def stats(self, tenant: str) -> CacheStats:
        _, tally, wanted = ledger_keys(tenant)
        with registry_faults():
            counts = {name.decode(): value for name, value in (await self._client.hgetall(tally)).items()}
            waiting = await self._client.zcard(wanted)
            partitions = await self._partitions(tenant)
        retired = {
            name.removeprefix("retired:"): int(value) for name, value in counts.items() if name.startswith("retired:")
        }

        def count(name: str) -> int:
            return int(counts.get(name, 0))

        return CacheStats(
            lookups=count("lookups"),
            exact_hits=count("exact"),
            semantic_hits=count("semantic"),
            tokens_saved=count("tokens_saved"),
            remembered=count("remembered"),
            entries=count("entries"),
            bytes=count("bytes"),
            partitions=len(partitions),
            wanted=int(waiting),
            retired=retired,
        )

    async def unreported(self, tenant: str) -> CacheStats:
        """What has come since this was last asked; entries, bytes and the like are as they are now."""
        now = await self.stats(tenant)
        _, tally, _ = ledger_keys(tenant)
        with registry_faults():
            raw = await self._client.hget(tally, "reported")
            before = json.loads(raw) if raw else {}
            counted = {name: getattr(now, name) for name in COUNTED}
            await self._client.hset(tally, "reported", json.dumps({**counted, "retired": dict(now.retired)}))
        since = {name: max(0, value - before.get(name, 0)) for name, value in counted.items()}
        retired = {name: max(0, value - before.get("retired", {}).get(name, 0)) for name, value in now.retired.items()}
        return CacheStats(**{**{name: getattr(now, name) for name in STANDING}, **since, "retired": retired})

    async def wanted(self, tenant: str, limit: int) -> list[Wanted]:
        _, _, wanted = ledger_keys(tenant)
        with registry_faults():
            members = await self._client.zrange(wanted, 0, limit - 1, desc=True, withscores=True)
        found = []
        for member, worth in members:
            meta, _, question = member.decode().partition("\n")
            about = json.loads(meta)
            found.append(Wanted(question, frozenset(about["groups"]), about["filter"], float(worth), member.decode()))
        return found

    async def unwant(self, tenant: str, wanted: Wanted) -> None:
        with registry_faults():
            await self._client.zrem(ledger_keys(tenant)[2], wanted.name)

    async def place(self) -> Mapping[str, Any]:
        with registry_faults():
            raw = await self._client.get(PLACE_KEY)
        return json.loads(raw) if raw else {}

    async def leave_off(self, place: Mapping[str, Any] | None) -> None:
        with registry_faults():
            if place is None:
                await self._client.delete(PLACE_KEY)
            else:
                await self._client.set(PLACE_KEY, json.dumps(place), ex=PLACE_SECONDS)

    async def _pack(self, key: str) -> int:
        """Blocks for changes, when there are many."""
        born, seq, packed, mark = await self._client.hmget(key, ["born", "seq", "packed", "mark"])
        if born is None or (mark is not None and int(seq) - int(packed) < CHANGES):
            return 0
        fields = await self._client.hgetall(key)
        if not fields:
            return 0
        mirror = Mirror()
        try:
            mirror.fill(fields)
        except ValueError:
            # Another release wrote it, or it is broken. Without it nothing of it is served, and the next answer begins another.
            logger.warning("An index of cached questions could not be read, and was taken out.")
            return int(await self._client.delete(key))
        rows, old = mirror.rows, sum(name.startswith(b"b:") for name in fields)
        blocks = [rows.pack(start, min(start + BLOCK, len(rows))) for start in range(0, len(rows), BLOCK)]
        args = [mirror.point.life, fields[b"packed"], mirror.point.seq, mirror.point.mark, old, *blocks]
        return int(await self._compact(keys=[key], args=args))

    async def _of_other_models(self, tenant: str, embedding_model: str) -> set[str]:
        found = set()
        for name, _ in await self._partitions(tenant):
            meta = await self._client.hget(partition_key(tenant, name), "meta")
            if meta is not None and json.loads(meta)["embedding_model"] != embedding_model:
                found.add(name)
        return found

    async def _partitions(self, tenant: str) -> list[tuple[str, str]]:
        listed = await self._client.hget(registry_key(tenant), "partitions")
        return [(name, kind) for name, _, kind in (each.partition("/") for each in (listed or b"").decode().split())]

    async def _forget_partitions(self, tenant: str) -> None:
        listed = await self._partitions(tenant)
        keys = [registry_key(tenant), *(partition_key(tenant, name) for name, _ in listed)]
        if not listed:
            return
        kept = await self._forget(keys=keys, args=[f"{name}/{kind}" for name, kind in listed])
        for name, kind in listed:
            if kind == "search" and f"{name}/{kind}".encode() not in kept.split():
                with suppress(ResponseError):
                    await self._client.execute_command("FT.DROPINDEX", search_index(tenant, name))

    async def _retire_members(self, tenant: str, members: Sequence[_Member], reason: Retired, *, again: bool) -> int:
        gone = 0
        for start in range(0, len(members), PAGE):
            page = members[start : start + PAGE]
            keys = [*ledger_keys(tenant), *self._places(tenant, page)]
            args = [reason.value, "1" if again else "", *(member.id for member in page)]
            gone += int(await self._retire(keys=keys, args=args))
        return gone

    def _places(self, tenant: str, members: Sequence[_Member]) -> list[str]:
        return [
            key
            for member in members
            for key in (entry_key(tenant, member.partition, member.id), partition_key(tenant, member.partition))
        ]


COUNTED = ("lookups", "exact_hits", "semantic_hits", "tokens_saved", "remembered")
STANDING = ("entries", "bytes", "partitions", "wanted")
