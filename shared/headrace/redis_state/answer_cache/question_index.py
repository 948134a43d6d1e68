"""Finds the nearest cached questions: in an index in this process, which follows the partition's log."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from redis.asyncio import Redis

from headrace.redis_state.answer_cache.local_index import UNKNOWN, LocalIndex, LogPosition
from headrace.redis_state.answer_cache.rows import Rows
from headrace.redis_state.layout import partition_key
from headrace.redis_state.scripts import script
from headrace.types import CacheKey, Candidate, Partition
from headrace.vectors import Quantised

# For reading a partition anew, and for waiting until another lookup has.
FILL_SECONDS = 0.5
# What an index takes beside its rows.
INDEX_BYTES = 2_000


class QuestionIndex(Protocol):
    """Finds cached questions by their embeddings. Raises what the Redis client raises, TimeoutError, ValueError."""

    kind: str

    def row(self, entry: str, question: str, admission_score: float, vector: Quantised) -> bytes:
        """What the partition's log gets of a question; nothing where the server keeps the vectors."""

    async def add(self, key: CacheKey, vector: Sequence[float], *, ttl_ms: int) -> None:
        """Have the server index the question, where it does; before its answer is kept."""

    def known(self, partition: Partition) -> LogPosition:
        """How far the partition's log is known here; NO_LOG when it need not be."""

    def learn(self, partition: Partition, since: LogPosition, log: Sequence[Any]) -> None:
        """Take in what a lookup brought of the partition's log after `since`, in the form of lua/shared/log_since.lua."""

    async def nearest(
        self, partition: Partition, vector: Sequence[float], *, at_least: float, limit: int
    ) -> list[Candidate]:
        """The cached questions whose cosine to the unit-length vector is at least this, nearest first."""


@dataclass(slots=True)
class _Held:
    """A partition's index, and how far a lookup last said that the partition's log goes."""

    index: LocalIndex = field(default_factory=LocalIndex)
    end: LogPosition = UNKNOWN
    filling: asyncio.Lock = field(default_factory=asyncio.Lock)
    size: int = 0

    @property
    def is_behind(self) -> bool:
        return bool(self.end.incarnation) and self.index.log_position != self.end


class LocalQuestionIndex:
    """A QuestionIndex in this process, on any Redis or Valkey from 7; forgets the partitions not asked for longest."""

    kind = "local"

    def __init__(self, client: Redis, *, most_bytes: int) -> None:
        # The client's own types do not know that its replies are bytes.
        self._client = cast("Any", client)
        self._log_since = script(client, "log_since")
        self._most_bytes = most_bytes
        self._bytes = 0
        self._partitions: OrderedDict[str, _Held] = OrderedDict()

    @property
    def size(self) -> int:
        """About how many bytes all partitions' indexes take up."""
        return self._bytes

    def row(self, entry: str, question: str, admission_score: float, vector: Quantised) -> bytes:
        rows = Rows(len(vector.numbers))
        rows.append(entry, question, admission_score, vector)
        return rows.pack()

    async def add(self, key: CacheKey, vector: Sequence[float], *, ttl_ms: int) -> None:
        """Nothing: the row is all that is needed."""

    def known(self, partition: Partition) -> LogPosition:
        return self._held(_key(partition)).index.log_position

    def learn(self, partition: Partition, since: LogPosition, log: Sequence[Any]) -> None:
        if log:
            self._learn(_key(partition), since, log)

    def _learn(self, key: str, since: LogPosition, log: Sequence[Any]) -> None:
        held = self._held(key)
        held.end = end = LogPosition(_text(log[0]), int(log[1]), _text(log[2]))
        if not end.incarnation:
            self._forget(key)
            return
        if len(log) > 3 and since.incarnation == held.index.log_position.incarnation:
            try:
                held.index.catch_up(since, end, log[3])
                # It may have been further: lookups are answered in any order.
                held.end = held.index.log_position
            except ValueError:
                # The log is another one since a failover. The index is read anew when it is needed.
                held.index = LocalIndex()
        self._count(key, held)

    async def nearest(
        self, partition: Partition, vector: Sequence[float], *, at_least: float, limit: int
    ) -> list[Candidate]:
        index = await self._current(_key(partition))
        return index.nearest(vector, at_least=at_least, limit=limit)

    async def sync(self, key: str) -> LocalIndex:
        """The index of the partition with this key, as it is now. Raises ValueError when it can't be read."""
        position = self._held(key).index.log_position
        self._learn(key, position, await self._log_since(keys=[key], args=list(position)))
        return await self._current(key)

    async def _current(self, key: str) -> LocalIndex:
        """The partition's index as a lookup last said that it is, or later."""
        held = self._held(key)
        if held.is_behind:
            # One lookup reads the partition; those that come meanwhile wait for it.
            async with asyncio.timeout(FILL_SECONDS), held.filling:
                while held.is_behind:
                    await self._fill(key, held)
        return held.index

    async def _fill(self, key: str, held: _Held) -> None:
        end = held.end
        fields = await self._client.hgetall(key)
        index = LocalIndex()
        if fields:
            index.fill(fields)
        held.index = index
        if held.end == end:
            # Else a lookup has brought more meanwhile, and the loop in `_current` goes on.
            held.end = index.log_position
        self._count(key, held)

    def _held(self, key: str) -> _Held:
        held = self._partitions.get(key)
        if held is None:
            held = self._partitions[key] = _Held()
            self._count(key, held)
        self._partitions.move_to_end(key)
        return held

    def _count(self, key: str, held: _Held) -> None:
        """Count what the partition takes up by now, and forget others if all take too much."""
        if self._partitions.get(key) is not held:
            return
        self._partitions.move_to_end(key)
        before, held.size = held.size, INDEX_BYTES + held.index.size
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
