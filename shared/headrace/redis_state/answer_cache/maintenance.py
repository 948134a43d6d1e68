"""Keeps a tenant's cache in order: sweeps its entries page by page, packs its indexes, counts, and deletes by hand.

Every step may be repeated, and may run beside another one or beside live traffic: the script that changes something
checks what it changes.
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

from headrace.clients.redis import registry_faults
from headrace.redis_state.answer_cache.local_index import LocalIndex
from headrace.redis_state.answer_cache.quota import Quota
from headrace.redis_state.layout import (
    accounts,
    counters_key,
    entry_key,
    partition_key,
    registry_key,
    scores_key,
    search_index,
    warm_key,
)
from headrace.redis_state.scripts import script
from headrace.types import CacheStats, InvalidationReason, WarmCandidate

logger = logging.getLogger(__name__)

PAGE = 200
# A partition is packed when so many changes have come since it was last, in blocks of so many rows.
CHANGES = 256
BLOCK = 1024
# Where the last sweep of all tenants stopped; not a tenant's key.
CHECKPOINT_KEY = "headrace:maintenance:checkpoint"
CHECKPOINT_SECONDS = 86_400


# Figures that grow, and figures that are as they are.
COUNTS = ("lookups", "exact_hits", "semantic_hits", "judged", "judge_tokens", "tokens_saved", "remembered")
LEVELS = ("entries", "bytes", "partitions", "warm_candidates")


@dataclass(frozen=True, slots=True)
class _Member:
    """An entry as the list of scores has it: `<partition>:<id>:<bytes>`."""

    text: str

    @property
    def partition(self) -> str:
        return self.text.split(":")[0]

    @property
    def id(self) -> str:
        return self.text.split(":")[1]


class RedisCacheMaintenance:
    """A CacheMaintenance on a Redis client, which stays the caller's to close."""

    def __init__(self, client: Redis, *, tenant_bytes: int, tenant_entries: int) -> None:
        # The client's own types do not know that its replies are bytes.
        self._client = cast("Any", client)
        self._quota = Quota(client, tenant_bytes=tenant_bytes, tenant_entries=tenant_entries)
        self._audit = script(client, "audit")
        self._pack_script = script(client, "compact")
        self._forget = script(client, "forget_partitions")
        self._recount = script(client, "recount")
        self._invalidate = script(client, "invalidate")

    async def sweep(
        self, tenant: str, cursor: int, *, embedding_model: str, dry_run: bool
    ) -> tuple[int, Mapping[str, int]]:
        scores, counters, warm = accounts(tenant)
        with registry_faults():
            cursor, listed = await self._client.zscan(scores, cursor, count=PAGE)
            members = [_Member(name.decode()) for name, _ in listed]
            stale = await self._of_other_models(tenant, embedding_model)
            kept = [member for member in members if member.partition not in stale]
            keys = [registry_key(tenant), scores, counters, warm, *self._keys_of(tenant, kept)]
            args = ["1" if dry_run else "", *(part for member in kept for part in (member.text, member.id))]
            verdicts = await self._audit(keys=keys, args=args) if kept else []
            report = Counter(verdict.decode() for verdict in verdicts)
            moved = [member for member in members if member.partition in stale]
            report[InvalidationReason.MODEL.value] += len(moved)
            if moved and not dry_run:
                await self._delete(tenant, moved, InvalidationReason.MODEL, warm=True)
        return int(cursor), {name: count for name, count in report.items() if count}

    async def compact(self, tenant: str, *, dry_run: bool) -> Mapping[str, int]:
        with registry_faults():
            if not dry_run:
                await self._recount(keys=[scores_key(tenant), counters_key(tenant)])
            evicted = 0 if dry_run else await self._quota.make_room(tenant)
            packed = 0
            for name, kind in await self._partitions(tenant):
                if kind == "local" and not dry_run:
                    packed += await self._pack(partition_key(tenant, name))
            if not dry_run:
                await self._forget_partitions(tenant)
        return {"evicted": evicted, "packed": packed}

    async def invalidate(
        self, tenant: str, *, document: str = "", answer_id: str = "", question: str = "", dry_run: bool
    ) -> int:
        found: list[_Member] = []
        with registry_faults():
            async for name, _ in self._client.zscan_iter(scores_key(tenant), count=PAGE):
                member = _Member(name.decode())
                entry = entry_key(tenant, member.partition, member.id)
                documents, asked = await self._client.hmget(entry, ["documents", "question"])
                if documents is None:
                    continue
                is_made_from = not document or document in json.loads(documents)[::2]
                is_named = not answer_id or answer_id == f"{member.partition}-{member.id}"
                asks = not question or question.casefold() in asked.decode().casefold()
                if is_made_from and is_named and asks:
                    found.append(member)
            if dry_run:
                return len(found)
            return await self._delete(tenant, found, InvalidationReason.INVALIDATED, warm=False)

    async def flush(self, tenant: str, *, dry_run: bool) -> int:
        """Indexes go first: without its index no entry is given."""
        scores, _, warm = accounts(tenant)
        with registry_faults():
            count = int(await self._client.zcard(scores))
            if dry_run:
                return count
            names = [name for name, _ in await self._partitions(tenant)]
            for name in names:
                await self._client.delete(partition_key(tenant, name))
            members = [_Member(name.decode()) async for name, _ in self._client.zscan_iter(scores, count=PAGE)]
            await self._delete(tenant, members, InvalidationReason.INVALIDATED, warm=False)
            await self._client.delete(warm)
            await self._forget_partitions(tenant)
        return count

    async def stats(self, tenant: str) -> CacheStats:
        with registry_faults():
            raw = await self._client.hgetall(counters_key(tenant))
            counters = {name.decode(): value for name, value in raw.items()}
            waiting = await self._client.zcard(warm_key(tenant))
            partitions = await self._partitions(tenant)
        prefix = "invalidated:"
        invalidated = {n.removeprefix(prefix): int(value) for n, value in counters.items() if n.startswith(prefix)}

        def count(name: str) -> int:
            return int(counters.get(name, 0))

        return CacheStats(
            lookups=count("lookups"),
            exact_hits=count("exact"),
            semantic_hits=count("semantic"),
            judged=count("judged"),
            judge_tokens=count("judge_tokens"),
            tokens_saved=count("tokens_saved"),
            remembered=count("remembered"),
            entries=count("entries"),
            bytes=count("bytes"),
            partitions=len(partitions),
            warm_candidates=int(waiting),
            invalidated=invalidated,
        )

    async def unreported(self, tenant: str) -> CacheStats:
        """Counts are since the last call; entries, bytes and the like are as they are now."""
        now, key = await self.stats(tenant), counters_key(tenant)
        with registry_faults():
            raw = await self._client.hget(key, "reported")
            before = json.loads(raw) if raw else {}
            counted = {name: getattr(now, name) for name in COUNTS}
            await self._client.hset(key, "reported", json.dumps({**counted, "invalidated": dict(now.invalidated)}))
        since = {name: max(0, value - before.get(name, 0)) for name, value in counted.items()}
        gone = before.get("invalidated", {})
        invalidated = {name: max(0, value - gone.get(name, 0)) for name, value in now.invalidated.items()}
        return CacheStats(**{**{name: getattr(now, name) for name in LEVELS}, **since, "invalidated": invalidated})

    async def warm_candidates(self, tenant: str, limit: int) -> list[WarmCandidate]:
        with registry_faults():
            members = await self._client.zrange(warm_key(tenant), 0, limit - 1, desc=True, withscores=True)
        found = []
        for member, score in members:
            meta, _, question = member.decode().partition("\n")
            about = json.loads(meta)
            groups, options = frozenset(about["groups"]), about.get("options", "")
            found.append(WarmCandidate(question, groups, about["filter"], options, float(score), member.decode()))
        return found

    async def remove_warm_candidate(self, tenant: str, candidate: WarmCandidate) -> None:
        with registry_faults():
            await self._client.zrem(warm_key(tenant), candidate.name)

    async def checkpoint(self) -> Mapping[str, Any]:
        with registry_faults():
            raw = await self._client.get(CHECKPOINT_KEY)
        return json.loads(raw) if raw else {}

    async def save_checkpoint(self, checkpoint: Mapping[str, Any] | None) -> None:
        with registry_faults():
            if checkpoint is None:
                await self._client.delete(CHECKPOINT_KEY)
            else:
                await self._client.set(CHECKPOINT_KEY, json.dumps(checkpoint), ex=CHECKPOINT_SECONDS)

    async def _pack(self, key: str) -> int:
        """Make blocks of a partition's changes, when there are many."""
        names = ["incarnation", "seq", "packed", "checksum"]
        incarnation, seq, packed, checksum = await self._client.hmget(key, names)
        if incarnation is None or (checksum is not None and int(seq) - int(packed) < CHANGES):
            return 0
        fields = await self._client.hgetall(key)
        if not fields:
            return 0
        index = LocalIndex()
        try:
            index.fill(fields)
        except ValueError:
            # Another release wrote it, or it is broken. Without it nothing of it is given, and the next answer begins another.
            logger.warning("An index of cached questions could not be read, and was deleted.")
            return int(await self._client.delete(key))
        rows, old = index.rows, sum(name.startswith(b"b:") for name in fields)
        blocks = [rows.pack(start, min(start + BLOCK, len(rows))) for start in range(0, len(rows), BLOCK)]
        at = index.log_position
        args = [at.incarnation, fields[b"packed"], at.seq, at.checksum, old, *blocks]
        return int(await self._pack_script(keys=[key], args=args))

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
            if kind == "server" and f"{name}/{kind}".encode() not in kept.split():
                with suppress(ResponseError):
                    await self._client.execute_command("FT.DROPINDEX", search_index(tenant, name))

    async def _delete(self, tenant: str, members: Sequence[_Member], reason: InvalidationReason, *, warm: bool) -> int:
        gone = 0
        for start in range(0, len(members), PAGE):
            page = members[start : start + PAGE]
            keys = [*accounts(tenant), *self._keys_of(tenant, page)]
            args = [reason.value, "1" if warm else "", *(member.id for member in page)]
            gone += int(await self._invalidate(keys=keys, args=args))
        return gone

    def _keys_of(self, tenant: str, members: Sequence[_Member]) -> list[str]:
        return [
            key
            for member in members
            for key in (entry_key(tenant, member.partition, member.id), partition_key(tenant, member.partition))
        ]
