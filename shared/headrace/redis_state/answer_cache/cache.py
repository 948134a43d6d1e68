"""The answer cache in Redis or Valkey, any of them from 7, cluster mode included.

An entry says which documents it was made from, and is held against the registry in the script that reads it: an answer
whose documents changed is never given. New documents invalidate at the registry's flip what they would change; where
that can't be computed, entries are stale until a new search revalidates them. All lookups that come within a turn of the
event loop are one round trip.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis

from headrace.clients.redis import registry_faults
from headrace.redis_state.answer_cache.entries import encode_body, encode_documents
from headrace.redis_state.answer_cache.lookups import Lookups
from headrace.redis_state.answer_cache.question_index import QuestionIndex
from headrace.redis_state.answer_cache.quota import Quota
from headrace.redis_state.circuit_breaker import CircuitBreaker
from headrace.redis_state.layout import accounts, counters_key, entry_key, partition_key, registry_key, rejected_key
from headrace.redis_state.scripts import script
from headrace.types import (
    CachedAnswer,
    CacheEntry,
    CacheKey,
    Candidate,
    InvalidationReason,
    Lookup,
    Partition,
    Usage,
)
from headrace.vectors import quantise

# So many neighbours are looked at for candidates that are plausible and not rejected.
NEIGHBOURS = 8
EVICTED_AT_ONCE = 16
# Other questions that a judge made keys of one entry, and what a judge rejected in one tenant: the newest of them.
MOST_ALIASES = 8
MOST_REJECTIONS = 10_000
# What an entry takes beside its body and its row, in Redis.
OVERHEAD_BYTES = 500
# About a thousand partitions a tenant: each filter that is asked with makes one, and so do answers that are wanted in another
# shape, which may fill half of it.
MOST_PARTITIONS_TEXT = 24_000
# A partition outlives its entries by so much.
PARTITION_MARGIN = 1.1


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """How long answers are kept, how long the server may take, and how much a tenant, and one answer, may take up."""

    ttl_seconds: int = 86_400
    timeout_seconds: float = 0.05
    tenant_bytes: int = 64 * 1024 * 1024
    tenant_entries: int = 20_000
    answer_bytes: int = 256 * 1024


class RedisCache:
    """An AnswerCache on a Redis client, which stays the caller's to close."""

    def __init__(self, client: Redis, index: QuestionIndex, limits: CacheLimits) -> None:
        # The client's own types do not know that its replies are bytes.
        self._client = cast("Any", client)
        self._index = index
        self._limits = limits
        self._breaker = CircuitBreaker("The answer cache", limits.timeout_seconds)
        self._lookups = Lookups(client, index, timeout_seconds=limits.timeout_seconds)
        self._quota = Quota(client, tenant_bytes=limits.tenant_bytes, tenant_entries=limits.tenant_entries)
        self._remember = script(client, "remember")
        self._accept = script(client, "accept")
        self._reject = script(client, "reject")
        self._revalidate = script(client, "revalidate")
        self._invalidate = script(client, "invalidate")

    async def check(self) -> None:
        with registry_faults():
            await self._client.ping()

    def expects(self, key: CacheKey) -> bool:
        return self._lookups.knows(key.partition, key.id)

    async def find(self, key: CacheKey, *, counted: bool = True) -> Lookup:
        kind = "exact" if counted else ""
        lookup = await self._breaker.run(lambda: self._lookups.find(key.partition, key.id, kind=kind), in_time=True)
        return lookup or Lookup(None, None)

    async def candidates(
        self,
        key: CacheKey,
        vector: Sequence[float],
        *,
        at_least: float,
        limit: int,
        plausible: Callable[[str], bool],
    ) -> Lookup:
        async def look_up() -> Lookup:
            near = await self._index.nearest(key.partition, vector, at_least=at_least, limit=NEIGHBOURS)
            kept = [each for each in near if each.id != key.id and plausible(each.question)]
            own, *others = await asyncio.gather(
                self._lookups.find(key.partition, key.id, kind=""),
                *(self._candidate(key, each) for each in kept),
            )
            entries = (other.entry for other in others)
            fresh = tuple(entry for entry in entries if entry is not None and entry.fresh)
            return Lookup(own.entry, own.revision, fresh[:limit])

        return await self._breaker.run(look_up, in_time=True) or Lookup(None, None)

    async def _candidate(self, key: CacheKey, candidate: Candidate) -> Lookup:
        return await self._lookups.find(
            key.partition, candidate.id, kind="", similarity=candidate.similarity, asked=key.id
        )

    async def remember(self, key: CacheKey, answer: CachedAnswer) -> bool:
        body = encode_body(answer.events)
        provenance, vector = answer.provenance, quantise(answer.provenance.vector)
        # What the vector loses in int8, a lower admission score makes up for: errors invalidate, never keep.
        admission_score = provenance.admission_score - key.partition.dense_weight * vector.error(provenance.vector)
        row = self._index.row(key.id, key.question, admission_score, vector)
        size = len(body) + (len(row) or 4 * len(provenance.vector)) + OVERHEAD_BYTES
        if size > self._limits.answer_bytes:
            return True
        fields = {
            "version": uuid.uuid4().hex[:12],
            "created": answer.created_at,
            "documents": encode_documents(provenance),
            "admission_score": provenance.admission_score,
            "question": key.question,
            "body": body,
        }
        stored = await self._breaker.run(lambda: self._write(key, answer, fields, row, size))
        if stored == b"changed":
            return False
        if isinstance(stored, list) and self._quota.is_over(*stored):
            tenant = key.partition.scope.tenant
            await self._breaker.run(lambda: self._quota.make_room(tenant, most=EVICTED_AT_ONCE))
        return True

    async def accept(self, key: CacheKey, entry: CacheEntry, usage: Usage) -> bool:
        tenant, name = key.partition.scope.tenant, key.partition.name
        scores, counters, _ = accounts(tenant)
        keys = [registry_key(tenant), scores, counters, entry_key(tenant, name, entry.id), partition_key(tenant, name)]
        similarity = f"{entry.similarity:.4f}"
        args: list[Any] = [entry.version, entry.id, key.id, similarity, usage.total_tokens, MOST_ALIASES]
        return bool(await self._breaker.run(lambda: self._accept(keys=keys, args=args)))

    async def reject(self, key: CacheKey, entries: Sequence[CacheEntry], usage: Usage) -> None:
        tenant, name = key.partition.scope.tenant, key.partition.name
        members = [f"{name}:{key.id}:{entry.id}:{entry.version}" for entry in entries]
        args: list[Any] = [time.time(), self._limits.ttl_seconds, MOST_REJECTIONS, usage.total_tokens, *members]
        keys = [rejected_key(tenant), counters_key(tenant)]
        await self._breaker.run(lambda: self._reject(keys=keys, args=args))

    async def revalidate(self, key: CacheKey, entry: CacheEntry, *, revision: int) -> bool:
        tenant, name = key.partition.scope.tenant, key.partition.name
        scores, counters, _ = accounts(tenant)
        keys = [registry_key(tenant), entry_key(tenant, name, entry.id), scores, counters]
        args: list[str | int] = [entry.version, revision]
        return bool(await self._breaker.run(lambda: self._revalidate(keys=keys, args=args)))

    async def invalidate(
        self, tenant: str, answer_ids: Sequence[str], reason: InvalidationReason, *, warm: bool = False
    ) -> int | None:
        keys = list(accounts(tenant))
        args = [reason.value, "1" if warm else ""]
        for answer_id in answer_ids:
            name, _, entry = answer_id.partition("-")
            keys += [entry_key(tenant, name, entry), partition_key(tenant, name)]
            args.append(entry)
        gone = await self._breaker.run(lambda: self._invalidate(keys=keys, args=args))
        return None if gone is None else int(gone)

    async def _write(
        self, key: CacheKey, answer: CachedAnswer, fields: Mapping[str, Any], row: bytes, size: int
    ) -> Any:
        tenant, name = key.partition.scope.tenant, key.partition.name
        scores, counters, _ = accounts(tenant)
        # Jitter, so that answers made in one rush do not expire in one rush.
        ttl_ms = int(self._limits.ttl_seconds * 1000 * random.uniform(0.9, 1.0))  # noqa: S311 - no secret
        await self._index.add(key, answer.provenance.vector, ttl_ms=max(ttl_ms, 1))
        args: list[Any] = [
            answer.revision, key.id, f"{name}:{key.id}:{size}", uuid.uuid4().hex[:12], meta_of(key.partition),
            self._index.kind, name, row, max(ttl_ms, 1), int(self._limits.ttl_seconds * 1000 * PARTITION_MARGIN) + 1,
            answer.usage.total_tokens, MOST_PARTITIONS_TEXT // (2 if key.partition.options else 1),
        ]  # fmt: skip
        args += [part for pair in fields.items() for part in pair]
        keys = [registry_key(tenant), scores, counters, entry_key(tenant, name, key.id), partition_key(tenant, name)]
        return await self._remember(keys=keys, args=args)


def meta_of(partition: Partition) -> str:
    """What a partition's hash says of it."""
    return json.dumps(
        {
            "groups": sorted(partition.scope.groups),
            "fingerprint": partition.fingerprint,
            "embedding_model": partition.embedding_model,
            "dense_weight": partition.dense_weight,
            "filter": partition.filter,
            "options": partition.options,
        },
        separators=(",", ":"),
        sort_keys=True,
    )
