"""Watches which generation of each document was current when, and holds what searches found against it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from headrace.errors import SupersededError
from headrace.redis_state.registry import RedisRegistry
from headrace.types import Attempt, CacheInvalidation, Document, DocumentState, Passage


class Witness:
    """A registry that notes, for each document, from when to when each generation may have been current."""

    def __init__(self, registry: RedisRegistry) -> None:
        self._registry = registry
        self._clock = itertools.count(1)
        self.flips: dict[str, list[Flip]] = {}

    def now(self) -> int:
        return next(self._clock)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)

    async def save(
        self, document: Document, attempt: Attempt, *, watermark: int = 0, invalidation: CacheInvalidation | None = None
    ) -> bool:
        assert document.chunks or document.state is not DocumentState.READY, "ready with no chunk"
        with self._noting(document.key, document.generation) as flip:
            if not await self._registry.save(document, attempt, watermark=watermark, invalidation=invalidation):
                self.flips[document.key].remove(flip)
                return False
        return True

    async def remove(self, attempt: Attempt) -> None:
        with self._noting(attempt.key.key, None):
            await self._registry.remove(attempt)

    @contextmanager
    def _noting(self, key: str, generation: int | None) -> Iterator[Flip]:
        flips = self.flips.setdefault(key, [Flip(0, 0, None)])
        flip = Flip(self.now(), None, generation)
        flips.append(flip)
        try:
            yield flip
        except SupersededError:
            flips.remove(flip)
            raise
        flip.ended = self.now()

    def possible(self, key: str, start: int, end: int) -> set[int | None]:
        """The generations that were current at some moment between these two, as far as can be told."""
        flips = self.flips.get(key, [Flip(0, 0, None)])
        found: set[int | None] = set()
        for flip in flips:
            later = (
                f.ended for f in flips if flip.ended is not None and f.started > flip.ended and f.ended is not None
            )
            if flip.started <= end and min(later, default=end) >= start:
                found.add(flip.generation)
        return found


@dataclass(eq=False)
class Flip:
    """A write of a document's record: from when to when it took effect, and what it made current."""

    started: int
    ended: int | None
    generation: int | None


def check_found(
    found: Iterable[Passage], witness: Witness, keys: Iterable[str], started: int, ended: int
) -> dict[str, list[Passage]]:
    """Hold all that one search found against what may have been current meanwhile; gives it by document."""
    passages: dict[str, list[Passage]] = {}
    for passage in found:
        passages.setdefault(passage.chunk.document_key, []).append(passage)
    for key in keys:
        check_versions(passages.get(key, []), witness.possible(key, started, ended))
    return passages


def check_versions(passages: list[Passage], possible: set[int | None]) -> None:
    """One version, one that may have been current, and whole; or none, where there may have been none."""
    generations = Counter(passage.chunk.generation for passage in passages)
    assert len(generations) <= 1, "two versions at once"
    if not generations:
        assert None in possible, f"a live document was not found; {possible}"
        return
    ((generation, count),) = generations.items()
    assert generation in possible, f"{generation} was not current; {possible}"
    assert count == passages[0].chunk.total, "half a document"
