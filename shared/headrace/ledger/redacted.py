"""A ledger's queue that lets nobody's words in."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.protocols import LedgerQueue
from headrace.types import LedgerEntry, without_content


class RedactedQueue:
    """A LedgerQueue that takes what was asked, answered, quoted and said out of each entry before it is put."""

    def __init__(self, queue: LedgerQueue) -> None:
        self._queue = queue

    async def put(self, entry: LedgerEntry) -> None:
        await self._queue.put(without_content(entry))

    async def take(self, most: int) -> list[tuple[str, LedgerEntry]]:
        return await self._queue.take(most)

    async def remove(self, names: Sequence[str]) -> None:
        await self._queue.remove(names)

    async def waiting(self) -> int:
        return await self._queue.waiting()
