"""Where the nearest cached question is looked for: in a mirror of the partition's rows, or in a server's search module."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol, cast

from redis.asyncio import Redis

from headrace.cache_layout import partition_key
from headrace.caches.mirror import Mirror
from headrace.caches.rows import Rows
from headrace.caches.scripts import NEWS
from headrace.types import CacheKey, Neighbour, Partition
from headrace.vectors import Quantised

# For reading a partition anew, and for waiting until somebody else has.
FILL_SECONDS = 0.5


class QuestionIndex(Protocol):
    """Finds cached questions by their embeddings, in time. Raises what the Redis client raises, TimeoutError, ValueError."""

    kind: str

    def row(self, entry: str, question: str, bar: float, vector: Quantised) -> bytes:
        """What goes into the partition's log of changes; nothing where the server keeps the vectors."""

    async def add(self, key: CacheKey, vector: Sequence[float], *, ttl_ms: int) -> None:
        """Have the server index the question, where it does; before its answer is kept."""

    def known(self, partition: Partition) -> tuple[str, int]:
        """The partition's life and the last of its changes that are known here; `-` when nothing needs to be."""

    def learn(self, partition: Partition, asked_from: int, news: Sequence[object]) -> None:
        """Take in what a lookup brought along of the partition's changes after `asked_from`."""

    async def nearest(
        self, partition: Partition, vector: Sequence[float], *, at_least: float, limit: int
    ) -> list[Neighbour]:
        """The cached questions whose cosine to the vector is at least this, nearest first."""


class MirrorIndex:
    """A QuestionIndex in this process, on any Redis or Valkey from 7; forgets the partitions not asked for longest."""

    kind = "mirror"

    def __init__(self, client: Redis, *, most_bytes: int) -> None:
        # The client's own types do not know that its replies are bytes.
        self._client = cast("Any", client)
        self._news = client.register_script(NEWS)
        self._most_bytes = most_bytes
        self._mirrors: OrderedDict[str, Mirror] = OrderedDict()
        self._filling: dict[str, asyncio.Lock] = {}
        # What a lookup last said the partition's life and last change are.
        self._told: dict[str, tuple[str, int]] = {}

    def row(self, entry: str, question: str, bar: float, vector: Quantised) -> bytes:
        rows = Rows(len(vector.numbers))
        rows.append(entry, question, bar, vector)
        return rows.pack()

    async def add(self, key: CacheKey, vector: Sequence[float], *, ttl_ms: int) -> None:
        """Nothing: the row is all that is needed."""

    def known(self, partition: Partition) -> tuple[str, int]:
        mirror = self._mirror(_key(partition))
        return mirror.born, mirror.seq

    def learn(self, partition: Partition, asked_from: int, news: Sequence[object]) -> None:
        self._learn(_key(partition), asked_from, news)

    def _learn(self, key: str, asked_from: int, news: Sequence[object]) -> None:
        if not news:
            return
        mirror = self._mirror(key)
        born, seq = _text(news[0]), int(str(news[1]))
        self._told[key] = born, seq
        if not born:
            self._forget(key)
        elif len(news) > 2 and born == mirror.born and asked_from <= mirror.seq <= seq:
            # Another lookup may have brought the first of them already.
            changes: Sequence[bytes | None] = news[2][mirror.seq - asked_from :]  # type: ignore[index]
            try:
                mirror.apply(changes, seq)
            except ValueError:
                # It is read anew when it is needed.
                self._mirrors[key] = Mirror()

    async def nearest(
        self, partition: Partition, vector: Sequence[float], *, at_least: float, limit: int
    ) -> list[Neighbour]:
        mirror = await self._current(_key(partition))
        return mirror.nearest(vector, at_least=at_least, limit=limit)

    async def sync(self, key: str) -> Mirror:
        """The rows of the partition with this key, as they are now. Raises ValueError when they can't be read."""
        mirror = self._mirror(key)
        born, seq = mirror.born, mirror.seq
        self._learn(key, seq, await self._news(keys=[key], args=[born, seq]))
        return await self._current(key)

    async def _current(self, key: str) -> Mirror:
        """The partition as a lookup last said it is, or later."""
        if self._is_behind(key):
            async with asyncio.timeout(FILL_SECONDS), self._filling.setdefault(key, asyncio.Lock()):
                if self._is_behind(key):
                    await self._fill(key)
        return self._mirror(key)

    def _is_behind(self, key: str) -> bool:
        born, seq = self._told.get(key, ("", 0))
        mirror = self._mirror(key)
        return bool(born) and ((mirror.born, mirror.seq) != (born, seq))

    async def _fill(self, key: str) -> None:
        fields = await self._client.hgetall(key)
        mirror = Mirror()
        if fields:
            mirror.fill(fields)
        self._told[key] = mirror.born, mirror.seq
        self._mirrors[key] = mirror
        while len(self._mirrors) > 1 and sum(mirror.size for mirror in self._mirrors.values()) > self._most_bytes:
            self._forget(next(iter(self._mirrors)))

    def _mirror(self, key: str) -> Mirror:
        mirror = self._mirrors.get(key)
        if mirror is None:
            mirror = self._mirrors[key] = Mirror()
        self._mirrors.move_to_end(key)
        return mirror

    def _forget(self, key: str) -> None:
        for held in (self._mirrors, self._told, self._filling):
            held.pop(key, None)


def _key(partition: Partition) -> str:
    return partition_key(partition.scope.tenant, partition.name)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
