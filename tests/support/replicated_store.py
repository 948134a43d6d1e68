"""A vector store with slow replicas, in memory: a search sees the writes up to some moment, and says up to which."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence

from headrace.filters import fields_of, matches, parse_filter
from headrace.ranking import best_of, by_similarity
from headrace.types import Chunk, ChunkId, DocumentKey, EmbeddedChunk, SearchRequest, SearchResult
from tests.support.chunks import cosine

# After a write, replicas may be behind by so many writes; they catch up by one with each search.
MOST_BEHIND = 3


class ReplicatedStore:
    """A VectorStore that measures exactly, and whose searches may be behind."""

    def __init__(self, generator: random.Random) -> None:
        self._generator = generator
        self._states: list[dict[ChunkId, EmbeddedChunk]] = [{}]
        self._behind = 0

    async def check(self) -> None:
        """Always ready."""

    async def ensure(self, dimensions: int) -> None:
        """Nothing to make."""

    async def drop(self) -> None:
        self._states.append({})

    async def upsert(self, chunks: Sequence[EmbeddedChunk]) -> int:
        self._write({**self._newest, **{each.chunk.identity: each for each in chunks}})
        return len(self._states) - 1

    async def delete_older(self, key: DocumentKey, *, before: int) -> None:
        self._keep(lambda place: place.document_key != key.key or place.generation >= before)

    async def delete_generation(self, key: DocumentKey, *, generation: int) -> None:
        self._keep(lambda place: (place.document_key, place.generation) != (key.key, generation))

    async def search(self, request: SearchRequest) -> SearchResult:
        seen = max(0, len(self._states) - 1 - self._behind)
        self._behind = max(0, self._behind - 1)
        wanted = parse_filter(request.filter)
        found = (
            by_similarity(request, query, each.chunk, cosine(query.vector, each.vector))
            for query in request.queries
            for each in self._of(request.scope.tenant, self._states[seen])
            if request.scope.may_see(each.chunk.groups) and matches(wanted, fields_of(each.chunk))
            if each.chunk.generation not in request.without
        )
        return SearchResult(best_of(found, request.limit), seen)

    async def chunks(self, tenant: str, identities: Collection[ChunkId]) -> list[Chunk]:
        return [each.chunk for each in await self.embedded(tenant, identities)]

    async def embedded(self, tenant: str, identities: Collection[ChunkId]) -> list[EmbeddedChunk]:
        held = {each.chunk.identity: each for each in self._of(tenant, self._newest)}
        return [held[place] for place in sorted(identities) if place in held]

    async def count(self, tenant: str, *, document_key: str | None = None) -> int:
        return sum(document_key in {None, each.chunk.document_key} for each in self._of(tenant, self._newest))

    async def scan(self, tenant: str) -> AsyncIterator[Chunk]:
        for each in list(self._of(tenant, self._newest)):
            yield each.chunk

    @property
    def _newest(self) -> dict[ChunkId, EmbeddedChunk]:
        return self._states[-1]

    def _of(self, tenant: str, state: dict[ChunkId, EmbeddedChunk]) -> Iterable[EmbeddedChunk]:
        return (each for each in state.values() if each.chunk.tenant == tenant)

    def _keep(self, is_kept: Callable[[ChunkId], bool]) -> None:
        self._write({place: each for place, each in self._newest.items() if is_kept(place)})

    def _write(self, state: dict[ChunkId, EmbeddedChunk]) -> None:
        self._states.append(state)
        self._behind = self._generator.choice((0, 0, 0, *range(MOST_BEHIND + 1)))
