"""The text around a passage: its neighbours within the section, as long as a token budget lasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from headrace.protocols import VectorSearch
from headrace.types import Chunk, ChunkId, Passage

# English text has about four characters a token, with every vocabulary in use.
CHARACTERS_PER_TOKEN = 4


async def with_context(
    passages: Sequence[Passage], store: VectorSearch, *, tenant: str, max_tokens: int
) -> tuple[Passage, ...]:
    """The passages with `context`, the best ones first to be widened; all of it within the budget."""
    own = {passage.chunk.identity for passage in passages}
    wanted = {identity for passage in passages for identity in _beside(passage.chunk)} - own
    neighbours = {chunk.identity: chunk for chunk in await store.chunks(tenant, sorted(wanted))}
    left = max_tokens * CHARACTERS_PER_TOKEN - sum(_shown(passage.chunk) for passage in passages)
    widened = []
    for passage in passages:
        context, used = _widen(passage.chunk, neighbours, left)
        left -= used
        widened.append(replace(passage, context=context) if used else passage)
    return tuple(widened)


def _widen(chunk: Chunk, neighbours: Mapping[ChunkId, Chunk], left: int) -> tuple[str, int]:
    before, after = (neighbours.get(identity) for identity in _beside(chunk))
    texts = [chunk.text]
    used = 0
    for neighbour, is_before in ((after, False), (before, True)):
        # A neighbour from another section would stand under the wrong heading.
        if neighbour is not None and neighbour.section == chunk.section and used + len(neighbour.text) <= left:
            texts = [neighbour.text, *texts] if is_before else [*texts, neighbour.text]
            used += len(neighbour.text)
    return "\n".join(texts), used


def _shown(chunk: Chunk) -> int:
    """How many characters of a prompt the chunk takes: its text, its document's name, and its place."""
    return len(chunk.text) + len(chunk.name) + len(chunk.place)


def _beside(chunk: Chunk) -> tuple[ChunkId, ChunkId]:
    return chunk.identity._replace(position=chunk.index - 1), chunk.identity._replace(position=chunk.index + 1)
