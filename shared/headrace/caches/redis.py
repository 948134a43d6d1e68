"""The answer cache in Redis or Valkey, any of them from 7, cluster mode included.

An entry says which documents it rests on, and is held against the registry in the script that reads it: what has
changed is never served. What is new is dealt with at the registry's flip, or else an entry is not `settled`: the asker
searches once more and either confirms or retires it. All lookups that come within a turn of the event loop are one
round trip.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis

from headrace.cache_layout import entry_key, ledger_keys, partition_key, registry_key
from headrace.caches.entries import encode_documents, encode_events
from headrace.caches.indexes import QuestionIndex
from headrace.caches.lookups import Lookups
from headrace.caches.patience import Patience
from headrace.caches.quota import Quota
from headrace.caches.scripts import CONFIRM, REMEMBER, RETIRE
from headrace.questions.rules import wording
from headrace.redis_client import registry_faults
from headrace.types import CachedAnswer, CacheKey, Found, Lookup, Neighbour, Partition, Retired
from headrace.vectors import quantise

NEIGHBOURS = 8
EVICTED_AT_ONCE = 16
# What an entry takes beside its body and its row, in Redis.
OVERHEAD_BYTES = 500
# About a thousand partitions a tenant: each filter that is asked with makes one.
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
        self._patience = Patience(limits.timeout_seconds)
        self._lookups = Lookups(client, index, timeout_seconds=limits.timeout_seconds)
        self._remember = client.register_script(REMEMBER)
        self._confirm = client.register_script(CONFIRM)
        self._retire = client.register_script(RETIRE)
        self._quota = Quota(client, tenant_bytes=limits.tenant_bytes, tenant_entries=limits.tenant_entries)

    async def check(self) -> None:
        with registry_faults():
            await self._client.ping()

    async def find(self, key: CacheKey, *, again: bool = False) -> Lookup:
        kind = "" if again else "exact"
        lookup = await self._patience.run(lambda: self._lookups.find(key.partition, key.id, kind=kind), in_time=True)
        return lookup or Lookup(None, None)

    async def worded(
        self, partition: Partition, question: str, vector: Sequence[float], *, at_least: float
    ) -> list[Neighbour] | None:
        words = wording(question)
        if not words:
            return []
        return await self._patience.run(
            lambda: self._index.worded(partition, words, vector, at_least=at_least), in_time=True
        )

    async def nearest(self, partition: Partition, vector: Sequence[float], *, at_least: float) -> list[Neighbour]:
        found = await self._patience.run(
            lambda: self._index.nearest(partition, vector, at_least=at_least, limit=NEIGHBOURS), in_time=True
        )
        return found or []

    async def read(self, partition: Partition, neighbour: Neighbour, *, count: bool) -> Found | None:
        kind, near = "semantic" if count else "", neighbour.similarity
        lookup = await self._patience.run(
            lambda: self._lookups.find(partition, neighbour.id, kind=kind, similarity=near), in_time=True
        )
        return lookup.found if lookup else None

    async def remember(self, key: CacheKey, answer: CachedAnswer) -> bool:
        body = encode_events(answer.events)
        basis, vector = answer.basis, quantise(answer.basis.vector)
        # What the vector loses in int8, the bar makes up for.
        bar = basis.bar - key.partition.dense_weight * vector.error(basis.vector)
        row = self._index.row(key.id, key.question, bar, vector)
        size = len(body) + (len(row) or 4 * len(basis.vector)) + OVERHEAD_BYTES
        if size > self._limits.answer_bytes:
            return True
        held = {
            "made": uuid.uuid4().hex[:12],
            "created": answer.created_at,
            "documents": encode_documents(basis),
            "bar": basis.bar,
            "question": key.question,
            "body": body,
        }
        stored = await self._patience.run(lambda: self._write(key, answer, held, row, size))
        if stored == b"changed":
            return False
        if isinstance(stored, list) and self._quota.is_over(*stored):
            tenant = key.partition.scope.tenant
            await self._patience.run(lambda: self._quota.make_room(tenant, most=EVICTED_AT_ONCE))
        return True

    async def confirm(self, key: CacheKey, found: Found, *, revision: int) -> bool:
        tenant, name = key.partition.scope.tenant, key.partition.name
        worth, tally, _ = ledger_keys(tenant)
        keys = [entry_key(tenant, name, found.id), worth, tally]
        kind = "exact" if found.id == key.id else "semantic"
        args: list[str | int] = [found.version, revision, kind]
        return bool(await self._patience.run(lambda: self._confirm(keys=keys, args=args)))

    async def retire(
        self, tenant: str, answer_ids: Sequence[str], reason: Retired, *, again: bool = False
    ) -> int | None:
        keys = list(ledger_keys(tenant))
        args = [reason.value, "1" if again else ""]
        for answer_id in answer_ids:
            name, _, entry = answer_id.partition("-")
            keys += [entry_key(tenant, name, entry), partition_key(tenant, name)]
            args.append(entry)
        gone = await self._patience.run(lambda: self._retire(keys=keys, args=args))
        return None if gone is None else int(gone)

    async def _write(self, key: CacheKey, answer: CachedAnswer, held: Mapping[str, Any], row: bytes, size: int) -> Any:
        tenant, name = key.partition.scope.tenant, key.partition.name
        worth, tally, _ = ledger_keys(tenant)
        # Jitter, so that answers made in one rush do not expire in one rush.
        ttl_ms = int(self._limits.ttl_seconds * 1000 * random.uniform(0.9, 1.0))  # noqa: S311 - no secret
        await self._index.add(key, answer.basis.vector, ttl_ms=max(ttl_ms, 1))
        args: list[Any] = [
            answer.revision, key.id, f"{name}:{key.id}:{size}", uuid.uuid4().hex[:12], meta_of(key.partition),
            self._index.kind, name, row, max(ttl_ms, 1), int(self._limits.ttl_seconds * 1000 * PARTITION_MARGIN) + 1,
            answer.usage.total_tokens, MOST_PARTITIONS_TEXT,
        ]  # fmt: skip
        args += [part for pair in held.items() for part in pair]
        keys = [registry_key(tenant), worth, tally, entry_key(tenant, name, key.id), partition_key(tenant, name)]
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
        },
        separators=(",", ":"),
        sort_keys=True,
    )
