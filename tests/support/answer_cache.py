"""Looks into an answer cache as a test wants to."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.protocols import AnswerCache
from headrace.types import CacheEntry, CacheKey, Partition


async def neighbours(
    cache: AnswerCache, partition: Partition, vector: Sequence[float], *, at_least: float
) -> list[CacheEntry]:
    """The entries that are candidates for a question that nobody has asked."""
    key = CacheKey(partition, "a question that nobody has asked")
    lookup = await cache.candidates(key, vector, at_least=at_least, limit=8, plausible=lambda _: True)
    return list(lookup.candidates)
