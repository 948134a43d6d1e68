"""The text around a passage: its neighbours within the section, as long as a token budget lasts."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Self

from headrace.concurrency.tasks import running
from headrace.protocols import VectorSearch
from headrace.types import Chunk, ChunkId, Passage

# A neighbour is text alone: some megabytes.
REMEMBERED_CHUNKS = 1_000
# English text has about four characters a token, with every vocabulary in use.
CHARACTERS_PER_TOKEN = 4


class ChunkMemory:
    """The chunks that were asked for last, so many at most: a chunk of a generation never changes."""

    def __init__(self, most: int = REMEMBERED_CHUNKS) -> None:
        self._most = most
        self._chunks: OrderedDict[ChunkId, Chunk] = OrderedDict()

    def get(self, identity: ChunkId, etag: str) -> Chunk | None:
        """The chunk, if it is remembered, and was made from this version of its file: after a loss numbers may come again."""
        chunk = self._chunks.get(identity)
        if chunk is None or chunk.etag != etag:
            return None
        self._chunks.move_to_end(identity)
        return chunk

    def keep(self, chunks: Iterable[Chunk]) -> None:
        """Remember these."""
        for chunk in chunks:
            self._chunks[chunk.identity] = chunk
        while len(self._chunks) > self._most:
            self._chunks.popitem(last=False)


class Neighbours:
    """The chunks beside passages: asked for as soon as a search has found these, while the registry still looks at them.

    Which of them are shown is known later.
    """

    def __init__(self, store: VectorSearch, tenant: str, memory: ChunkMemory) -> None:
        self._store = store
        self._tenant = tenant
        self._memory = memory
        self._asked: set[ChunkId] = set()
        self._found: dict[ChunkId, Chunk] = {}
        self._fetching: asyncio.Task[None] | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def look_for(self, passages: Sequence[Passage]) -> None:
        """Begin to ask for what stands beside these. One such request is under way at a time."""
        if self._fetching is None or self._fetching.done():
            self._fetching = await self._stack.enter_async_context(running(self._fetch(passages)))

    async def of(self, passages: Sequence[Passage]) -> Mapping[ChunkId, Chunk]:
        """The chunks beside these. Raises StoreUnavailableError."""
        if self._fetching is not None:
            await self._fetching
        await self._fetch(passages)
        return self._found

    async def _fetch(self, passages: Sequence[Passage]) -> None:
        own = {passage.chunk.identity for passage in passages}
        etags = {identity: passage.chunk.etag for passage in passages for identity in _there(passage.chunk)}
        wanted = etags.keys() - own - self._asked
        known = {identity: self._memory.get(identity, etags[identity]) for identity in wanted}
        self._found |= {identity: chunk for identity, chunk in known.items() if chunk is not None}
        if missing := sorted(identity for identity, chunk in known.items() if chunk is None):
            chunks = await self._store.chunks(self._tenant, missing)
            self._memory.keep(chunks)
            self._found |= {chunk.identity: chunk for chunk in chunks}
        self._asked |= wanted


async def with_context(passages: Sequence[Passage], neighbours: Neighbours, *, max_tokens: int) -> tuple[Passage, ...]:
    """The passages with `context`, the best ones first to be widened; all of it within the budget."""
    own = {passage.chunk.identity for passage in passages}
    # What is shown itself is no context of another.
    beside = {identity: chunk for identity, chunk in (await neighbours.of(passages)).items() if identity not in own}
    left = max_tokens * CHARACTERS_PER_TOKEN - sum(_shown(passage.chunk) for passage in passages)
    widened = []
    for passage in passages:
        context, used = _widen(passage.chunk, beside, left)
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


def _there(chunk: Chunk) -> list[ChunkId]:
    """Those beside it that there are, as far as it knows how many its document has."""
    return [each for each in _beside(chunk) if 0 <= each.position < (chunk.total or math.inf)]
