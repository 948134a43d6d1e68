"""An index of cached questions in the server's own search module: Redis 8, MemoryDB, or Valkey from 8.2 on nodes.

For more questions than a process should hold. The server keeps no admission scores, so no invalidation can be planned:
after a document has come, each entry is revalidated when it is asked for.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from headrace.redis_state.answer_cache.local_index import NO_LOG, LogPosition
from headrace.redis_state.layout import question_key, search_index
from headrace.types import CacheKey, Candidate, Partition
from headrace.vectors import Quantised

# Valkey's default of 10 finds 9 of 10 at 10,000 entries, and fewer beyond.
EF_RUNTIME = 100
SEARCH_SECONDS = 0.5


class ServerQuestionIndex:
    """A QuestionIndex on FT.*: an index for each partition, so that a search for the nearest needs no filter."""

    kind = "server"

    def __init__(self, client: Redis) -> None:
        # The client's own types know neither FT.* nor that its replies are bytes.
        self._client = cast("Any", client)
        self._ensured: set[str] = set()

    def row(self, entry: str, question: str, admission_score: float, vector: Quantised) -> bytes:  # noqa: ARG002 - the server has it
        return b""

    async def add(self, key: CacheKey, vector: Sequence[float], *, ttl_ms: int) -> None:
        tenant, name = key.partition.scope.tenant, key.partition.name
        await self._ensure(key.partition, len(vector))
        indexed = question_key(tenant, name, key.id)
        packed = array("f", vector).tobytes()
        await self._client.hset(indexed, mapping={"question": key.question, "vector": packed})
        await self._client.pexpire(indexed, ttl_ms)

    async def _ensure(self, partition: Partition, dimensions: int) -> None:
        name = _name(partition)
        if name in self._ensured:
            return
        vector = ("VECTOR", "HNSW", 6, "TYPE", "FLOAT32", "DIM", dimensions, "DISTANCE_METRIC", "COSINE")
        prefix = question_key(partition.scope.tenant, partition.name, "")
        try:
            await self._client.execute_command(
                "FT.CREATE", name, "ON", "HASH", "PREFIX", 1, prefix, "SCHEMA", "vector", *vector
            )
        except ResponseError as error:
            if "exist" not in str(error).lower():
                raise
        self._ensured.add(name)

    def known(self, partition: Partition) -> LogPosition:  # noqa: ARG002 - nothing is kept here
        return NO_LOG

    def learn(self, partition: Partition, since: LogPosition, log: Sequence[Any]) -> None:
        """Nothing: the server knows."""

    async def nearest(
        self, partition: Partition, vector: Sequence[float], *, at_least: float, limit: int
    ) -> list[Candidate]:
        asked = f"*=>[KNN {limit} @vector $vector EF_RUNTIME {EF_RUNTIME} AS distance]"
        options = ("RETURN", 2, "question", "distance", "LIMIT", 0, limit, "PARAMS", 2, "vector")
        packed = array("f", vector).tobytes()
        try:
            async with asyncio.timeout(SEARCH_SECONDS):
                found = await self._client.execute_command(
                    "FT.SEARCH", _name(partition), asked, *options, packed, "DIALECT", 2
                )
        except ResponseError as error:
            self._ensured.discard(_name(partition))
            if "no such index" in str(error).lower() or "not found" in str(error).lower():
                return []
            raise
        near = [
            Candidate(key.decode().rpartition(":")[2], fields[b"question"].decode(), 1 - float(fields[b"distance"]))
            for key, fields in _hits(found)
            # What expires while it is found has no fields.
            if b"question" in fields and b"distance" in fields
        ]
        return sorted((n for n in near if n.similarity >= at_least), key=lambda n: (-n.similarity, n.id))


def _name(partition: Partition) -> str:
    return search_index(partition.scope.tenant, partition.name)


def _hits(found: Any) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    """Keys and fields: a map in RESP3, a flat list before."""
    if isinstance(found, dict):
        for hit in found[b"results"]:
            yield hit[b"id"], hit.get(b"extra_attributes") or {}
        return
    for key, values in zip(found[1::2], found[2::2], strict=True):
        pairs = values or []
        yield key, dict(zip(pairs[::2], pairs[1::2], strict=True))
