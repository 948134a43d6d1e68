"""An index of cached questions in the server's own search module: Redis 8, MemoryDB, or Valkey from 8.2 on nodes.

For more questions than a process should mirror. The server keeps no bars, so nothing is cleared at a flip: after a
document has come, each answer is looked at once more when it is asked for.
"""

from __future__ import annotations

import asyncio
import hashlib
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from headrace.cache_layout import ENTRY_PREFIX
from headrace.types import Neighbour, Partition
from headrace.vectors import Quantised

# Valkey's default of 10 finds 9 of 10 at 10,000 entries, and fewer beyond.
EF_RUNTIME = 100
SEARCH_SECONDS = 0.25


class SearchIndex:
    """A QuestionIndex on FT.*; KNN with a TAG is all it asks for. `index` is a prefix for the indexes' names."""

    kind = "search"

    def __init__(self, client: Redis, *, index: str = "headrace-questions") -> None:
        # The client's own types know neither FT.* nor that its replies are bytes.
        self._client = cast("Any", client)
        self._index = index
        self._ensured: set[str] = set()

    async def ensure(self, partition: Partition, dimensions: int) -> None:
        name = self._name(partition, dimensions)
        if name in self._ensured:
            return
        field = _field(partition, dimensions)
        vector = ("VECTOR", "HNSW", 6, "TYPE", "FLOAT32", "DIM", dimensions, "DISTANCE_METRIC", "COSINE")
        schema = ("SCHEMA", "place", "TAG", field, *vector)
        try:
            await self._client.execute_command("FT.CREATE", name, "ON", "HASH", "PREFIX", 1, ENTRY_PREFIX, *schema)
        except ResponseError as error:
            if "exist" not in str(error).lower():
                raise
        self._ensured.add(name)

    def row(self, entry: str, question: str, bar: float, vector: Quantised) -> bytes:  # noqa: ARG002 - the server has it
        return b""

    def fields(self, partition: Partition, vector: Sequence[float]) -> dict[str, bytes]:
        return {_field(partition, len(vector)): array("f", vector).tobytes(), "place": _place(partition).encode()}

    def known(self, partition: Partition) -> tuple[str, int]:  # noqa: ARG002 - nothing is kept here
        return "-", 0

    def learn(self, partition: Partition, asked_from: int, news: Sequence[object]) -> None:
        """Nothing: the server knows."""

    async def nearest(
        self, partition: Partition, vector: Sequence[float], *, at_least: float, limit: int
    ) -> list[Neighbour]:
        field = _field(partition, len(vector))
        asked = f"(@place:{{{_place(partition)}}})=>[KNN {limit} @{field} $vector EF_RUNTIME {EF_RUNTIME} AS distance]"
        options = ("RETURN", 2, "question", "distance", "LIMIT", 0, limit, "PARAMS", 2, "vector")
        packed = array("f", vector).tobytes()
        name = self._name(partition, len(vector))
        try:
            async with asyncio.timeout(SEARCH_SECONDS):
                found = await self._client.execute_command("FT.SEARCH", name, asked, *options, packed, "DIALECT", 2)
        except ResponseError as error:
            if "no such index" in str(error).lower() or "not found" in str(error).lower():
                return []
            raise
        near = [
            Neighbour(key.decode().rpartition(":")[2], fields[b"question"].decode(), 1 - float(fields[b"distance"]))
            for key, fields in _hits(found)
            # What expires while it is found has no fields.
            if b"question" in fields and b"distance" in fields
        ]
        return sorted((n for n in near if n.similarity >= at_least), key=lambda n: (-n.similarity, n.id))

    def _name(self, partition: Partition, dimensions: int) -> str:
        return f"{self._index}-{_field(partition, dimensions)}"


def _hits(found: Any) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    """Keys and fields: a map in RESP3, a flat list before."""
    if isinstance(found, dict):
        for hit in found[b"results"]:
            yield hit[b"id"], hit.get(b"extra_attributes") or {}
        return
    for key, values in zip(found[1::2], found[2::2], strict=True):
        pairs = values or []
        yield key, dict(zip(pairs[::2], pairs[1::2], strict=True))


def _field(partition: Partition, dimensions: int) -> str:
    """Vectors of two models, or of two lengths, are never compared."""
    model = f"{partition.embedding_model}/{dimensions}"
    return f"v{hashlib.sha256(model.encode()).hexdigest()[:10]}"


def _place(partition: Partition) -> str:
    """A partition of a tenant, as a tag."""
    return hashlib.sha256(f"{partition.scope.tenant}\x1f{partition.name}".encode()).hexdigest()[:32]
