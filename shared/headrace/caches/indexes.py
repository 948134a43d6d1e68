"""Where the nearest cached question is looked for: in a mirror of the partition's rows, or in a server's search module."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from redis.asyncio import Redis

from headrace.cache_layout import partition_key
from headrace.caches.mirror import UNKNOWN, Mirror, Point
from headrace.caches.rows import Rows
from headrace.caches.scripts import NEWS
from headrace.questions.rules import wording
from headrace.types import CacheKey, Neighbour, Partition
from headrace.vectors import Quantised

# For reading a partition anew, and for waiting until somebody else has.
FILL_SECONDS = 0.5
# What a mirror takes beside its rows.
MIRROR_BYTES = 2_000


class QuestionIndex(Protocol):
    """Finds cached questions by their embeddings, in time. Raises what the Redis client raises, TimeoutError, ValueError."""

    kind: str

    def row(self, entry: str, question: str, bar: float, vector: Quantised) -> bytes:
        """What goes into the partition's log of changes; nothing where the server keeps the vectors."""

    async def add(self, key: CacheKey, vector: Sequence[float], *, ttl_ms: int) -> None:
        """Have the server index the question, where it does; before its answer is kept."""

    def known(self, partition: Partition) -> Point:
        """How far the partition's changes are known here; NOWHERE when they need not be."""

    def learn(self, partition: Partition, asked_from: Point, news: Sequence[Any]) -> None:
        """Take in what a lookup brought along of the partition's changes after `asked_from`."""

    async def nearest(
        self, partition: Partition, vector: Sequence[float], *, at_least: float, limit: int
    ) -> list[Neighbour]:
        """The cached questions whose cosine to the vector is at least this, nearest first."""

    async def worded(
        self, partition: Partition, wording: int, vector: Sequence[float], *, at_least: float
    ) -> list[Neighbour]:
        """Those of the same wording whose cosine to the vector is at least this; none where that is not known."""


@dataclass(slots=True)
class _Held:
    """A partition's mirror, and what is known of it."""

    mirror: Mirror = field(default_factory=Mirror)
    # What a lookup last said how far the partition's changes go.
    told: Point = UNKNOWN
    filling: asyncio.Lock = field(default_factory=asyncio.Lock)
    size: int = 0

    @property
    def is_behind(self) -> bool:
        return bool(self.told.life) and self.mirror.point != self.told


class MirrorIndex:
    """A QuestionIndex in this process, on any Redis or Valkey from 7; forgets the partitions not asked for longest."""

    kind = "mirror"

    def __init__(self, client: Redis, *, most_bytes: int) -> None:
        # The client's own types do not know that its replies are bytes.
        self._client = cast("Any", client)
        self._news = client.register_script(NEWS)
        self._most_bytes = most_bytes
        self._bytes = 0
        self._partitions: OrderedDict[str, _Held] = OrderedDict()

    @property
    def size(self) -> int:
        """About how many bytes all mirrors take up."""
        return self._bytes

    def row(self, entry: str, question: str, bar: float, vector: Quantised) -> bytes:
        rows = Rows(len(vector.numbers))
        rows.append(entry, question, bar, vector, wording(question))
        return rows.pack()

    async def add(self, key: CacheKey, vector: Sequence[float], *, ttl_ms: int) -> None:
        """Nothing: the row is all that is needed."""

    def known(self, partition: Partition) -> Point:
        return self._held(_key(partition)).mirror.point

    def learn(self, partition: Partition, asked_from: Point, news: Sequence[Any]) -> None:
        if news:
            self._learn(_key(partition), asked_from, news)

    def _learn(self, key: str, asked_from: Point, news: Sequence[Any]) -> None:
        held = self._held(key)
        held.told = told = Point(_text(news[0]), int(news[1]), _text(news[2]))
        if not told.life:
            self._forget(key)
            return
        if len(news) > 3 and asked_from.life == held.mirror.point.life:
            try:
                held.mirror.catch_up(asked_from, told, news[3])
                # It may have been further: answers of lookups come in any order.
                held.told = held.mirror.point
            except ValueError:
                # It is read anew when it is needed.
                held.mirror = Mirror()
        self._count(key, held)

    async def nearest(
        self, partition: Partition, vector: Sequence[float], *, at_least: float, limit: int
    ) -> list[Neighbour]:
        mirror = await self._current(_key(partition))
        return mirror.nearest(vector, at_least=at_least, limit=limit)

    async def worded(
        self, partition: Partition, wording: int, vector: Sequence[float], *, at_least: float
    ) -> list[Neighbour]:
        return (await self._current(_key(partition))).worded(wording, vector, at_least=at_least)

    async def sync(self, key: str) -> Mirror:
        """The rows of the partition with this key, as they are now. Raises ValueError when they can't be read."""
        point = self._held(key).mirror.point
        self._learn(key, point, await self._news(keys=[key], args=list(point)))
        return await self._current(key)

    async def _current(self, key: str) -> Mirror:
        """The partition as a lookup last said it is, or later."""
        held = self._held(key)
        if held.is_behind:
            async with asyncio.timeout(FILL_SECONDS), held.filling:
                while held.is_behind:
                    await self._fill(key, held)
        return held.mirror

    async def _fill(self, key: str, held: _Held) -> None:
        told = held.told
        fields = await self._client.hgetall(key)
        mirror = Mirror()
        if fields:
            mirror.fill(fields)
        held.mirror = mirror
        if held.told == told:
            # Else a lookup has heard of more meanwhile.
            held.told = mirror.point
        self._count(key, held)

    def _held(self, key: str) -> _Held:
        held = self._partitions.get(key)
        if held is None:
            held = self._partitions[key] = _Held()
            self._count(key, held)
        self._partitions.move_to_end(key)
        return held

    def _count(self, key: str, held: _Held) -> None:
        """Count what the partition takes up by now, and forget others if that is too much."""
        if self._partitions.get(key) is not held:
            return
        self._partitions.move_to_end(key)
        before, held.size = held.size, MIRROR_BYTES + held.mirror.size
        self._bytes += held.size - before
        while self._bytes > self._most_bytes and len(self._partitions) > 1:
            self._forget(next(iter(self._partitions)))

    def _forget(self, key: str) -> None:
        held = self._partitions.pop(key, None)
        if held is not None:
            self._bytes -= held.size


def _key(partition: Partition) -> str:
    return partition_key(partition.scope.tenant, partition.name)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
