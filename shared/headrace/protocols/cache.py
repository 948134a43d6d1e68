"""The seams of the answer cache: asked by chat, kept in order by maintenance, invalidated by ingest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from headrace.protocols.checks import Checkable
from headrace.types import (
    CachedAnswer,
    CacheEntry,
    CacheInvalidation,
    CacheKey,
    CacheStats,
    EmbeddedChunk,
    InvalidationReason,
    Lookup,
    Usage,
    WarmCandidate,
)


class AnswerCache(Checkable, Protocol):
    """Remembers finished answers, each within its partition, with their provenance.

    Never gives an answer whose documents have changed, nor any while the registry is not whole. An answer that a new
    document might have changed is given as not fresh. A cache that does not answer in time has nothing: no method but
    `check` raises.
    """

    def expects(self, key: CacheKey) -> bool:
        """Whether this process has seen an answer to the question, which is then likely to be there. Asks no server."""

    async def find(self, key: CacheKey, *, counted: bool = True) -> Lookup:
        """The entry of this very question, or the one that a judge once found to answer it.

        A fresh one counts as a hit, unless `counted` is False.
        """

    async def candidates(
        self,
        key: CacheKey,
        vector: Sequence[float],
        *,
        at_least: float,
        limit: int,
        plausible: Callable[[str], bool],
    ) -> Lookup:
        """The fresh entries, at most `limit`, whose questions have at least this cosine to the unit-length vector.

        Left out are those whose question is not `plausible`, and those that a judge rejected for this question. The
        partition is seen as of the last `find` in it, or later. The lookup also has the question's own entry, uncounted,
        in the same round trip: another asker's run may have ended since `find`.
        """

    async def remember(self, key: CacheKey, answer: CachedAnswer) -> bool:
        """Keep a finished answer, until it expires or has to make room.

        False when the tenant's revision is not the answer's any more: a new search must show that it still holds.
        """

    async def accept(self, key: CacheKey, entry: CacheEntry, usage: Usage) -> bool:
        """Record a judge's yes: from now on the question is another key of this entry, and leaves the cache with it.

        Counts as a hit. False, and only the verdict's price is counted, when the entry is not there, current and fresh any
        more.
        """

    async def reject(self, key: CacheKey, entries: Sequence[CacheEntry], usage: Usage) -> None:
        """Record a judge's no, so that these entries are not candidates for this question again."""

    async def revalidate(self, key: CacheKey, entry: CacheEntry, *, revision: int) -> bool:
        """Make an entry fresh as of this revision: a new search for its question found the same passages.

        Counts as a hit for the question under the key; True if the entry is still there.
        """

    async def invalidate(
        self, tenant: str, answer_ids: Sequence[str], reason: InvalidationReason, *, warm: bool = False
    ) -> int | None:
        """Delete entries: how many there were, or None when the cache did not answer.

        `warm`: their questions, if they had hits, become warm candidates.
        """


class CacheMaintenance(Protocol):
    """Keeps tenants' caches in order, beside live traffic and beside itself. Raises RegistryUnavailableError."""

    async def sweep(
        self, tenant: str, cursor: int, *, embedding_model: str, dry_run: bool
    ) -> tuple[int, Mapping[str, int]]:
        """Check a page of entries from this cursor (0: the start), and delete those that hold no more.

        Returns the next cursor, 0 at the end, and how many entries were `fresh`, `stale`, `expired`, `replaced`,
        `orphaned`, `changed`, or of another `model`.
        """

    async def compact(self, tenant: str, *, dry_run: bool) -> Mapping[str, int]:
        """Hold the tenant to its quota, and pack its indexes: how many entries were `evicted`, indexes `packed`."""

    async def invalidate(
        self, tenant: str, *, document: str = "", answer_id: str = "", question: str = "", dry_run: bool
    ) -> int:
        """Delete the entries that match all of what is given: made from the document, of this id, of these words."""

    async def flush(self, tenant: str, *, dry_run: bool) -> int:
        """Delete every entry: how many there were."""

    async def stats(self, tenant: str) -> CacheStats:
        """What the cache has done since it began, and holds."""

    async def unreported(self, tenant: str) -> CacheStats:
        """What the cache has done since the last call of this, and holds now."""

    async def warm_candidates(self, tenant: str, limit: int) -> list[WarmCandidate]:
        """The questions with the highest scores."""

    async def remove_warm_candidate(self, tenant: str, candidate: WarmCandidate) -> None:
        """Take a question off the list: it has been asked again, or can't be answered."""

    async def checkpoint(self) -> Mapping[str, Any]:
        """Where the last sweep of all tenants stopped; empty when it came to its end."""

    async def save_checkpoint(self, checkpoint: Mapping[str, Any] | None) -> None:
        """Have the next sweep go on here; None: from the beginning."""


class InvalidationPlanner(Protocol):
    """Finds the cached answers for which a document's new chunks would have been retrieved."""

    async def plan(
        self, tenant: str, chunks: Sequence[EmbeddedChunk], embedding_model: str
    ) -> CacheInvalidation | None:
        """What becomes invalid when these chunks become current; None when that can't be computed now."""
