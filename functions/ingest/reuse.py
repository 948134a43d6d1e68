"""What earlier generations of a document have in common with the new one need not be embedded again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from headrace.protocols import VectorStore
from headrace.types import Chunk, ChunkId, DocumentKey, EmbeddedChunk

PAGE = 200


class Reuse:
    """The chunks that a document has in the store, by what they say; their embeddings are fetched when they are taken."""

    def __init__(self, store: VectorStore, key: DocumentKey) -> None:
        self._store = store
        self._key = key
        self._identities: dict[bytes, ChunkId] = {}

    async def add(self, generations: Iterable[int | None]) -> None:
        """Look through these generations, as far as they go; a draft ends anywhere."""
        for generation in {number for number in generations if number is not None}:
            await self.all(generation)

    async def all(self, generation: int) -> list[Chunk]:
        """The chunks that the store has of a generation, from the first one on, in order."""
        chunks: list[Chunk] = []
        while True:
            page = [ChunkId(self._key.key, generation, len(chunks) + number) for number in range(PAGE)]
            found = await self._store.chunks(self._key.tenant, page)
            self._identities.update((_content_digest(chunk), chunk.identity) for chunk in found)
            chunks += found
            if len(found) < PAGE:
                return chunks

    async def take(self, chunks: Sequence[Chunk]) -> list[EmbeddedChunk | None]:
        """For each chunk, itself with the embedding and the context that it had before, or None."""
        identities = [self._identities.get(_content_digest(chunk)) for chunk in chunks]
        wanted = sorted({identity for identity in identities if identity is not None})
        held: dict[ChunkId, EmbeddedChunk] = {}
        for start in range(0, len(wanted), PAGE):
            found = await self._store.embedded(self._key.tenant, wanted[start : start + PAGE])
            held |= {each.chunk.identity: each for each in found}
        return [
            _taken_over(chunk, held.get(identity)) if identity else None
            for chunk, identity in zip(chunks, identities, strict=True)
        ]


def _taken_over(chunk: Chunk, before: EmbeddedChunk | None) -> EmbeddedChunk | None:
    return None if before is None else EmbeddedChunk(replace(chunk, context=before.chunk.context), before.vector)


def _content_digest(chunk: Chunk) -> bytes:
    """What the embedding was made from, but for the context, which a language model words anew each time."""
    return hashlib.blake2b(replace(chunk, context="").text_to_embed.encode(), digest_size=16).digest()
