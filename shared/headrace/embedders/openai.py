"""Embeddings from OpenAI, or from any server that speaks its API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from headrace.clients.dialects import AUTO, dialect_of
from headrace.clients.openai import open_openai
from headrace.clients.openai_api import OpenAI, openai_faults
from headrace.concurrency.gather import gather_all
from headrace.errors import EmbedderUnavailableError, RefusedError
from headrace.vectors import unit

CONCURRENT_BATCHES = 4
# What OpenAI's models read. No tokenizer makes more tokens of a text than it has bytes.
MAX_TOKENS = 8191


class OpenAIEmbedder:
    """An Embedder on `/embeddings`, in batches of `batch` texts, a few of them at once."""

    # Cosines of OpenAI's text-embedding-3 models run lower than MiniLM's.
    relevance_floor = 0.2
    max_tokens = MAX_TOKENS

    def __init__(self, openai: OpenAI, *, model: str, batch: int) -> None:
        self._openai = openai
        self._batch = batch
        self.model = model

    async def check(self) -> None:
        await self.embed(["ready?"])

    def count_tokens(self, text: str) -> int:
        return len(text.encode())

    async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        if len(texts) <= self._batch:
            return await self._embed_batch(texts) if texts else []
        gate = asyncio.Semaphore(CONCURRENT_BATCHES)

        async def embed_batch(batch: Sequence[str]) -> list[Sequence[float]]:
            async with gate:
                return await self._embed_batch(batch)

        batches = [texts[start : start + self._batch] for start in range(0, len(texts), self._batch)]
        vectors = await gather_all(embed_batch(batch) for batch in batches)
        return [vector for embedded in vectors for vector in embedded]

    async def _embed_batch(self, batch: Sequence[str]) -> list[Sequence[float]]:
        try:
            return await self._ask(batch)
        except RefusedError:
            if len(batch) == 1:
                raise
            # One text that is refused must not take its neighbours with it: find out which, and say it.
            middle = len(batch) // 2
            return [*await self._embed_batch(batch[:middle]), *await self._embed_batch(batch[middle:])]

    async def _ask(self, batch: Sequence[str]) -> list[Sequence[float]]:
        what = f"The embedding model {self.model!r}"
        with openai_faults(what, EmbedderUnavailableError):
            found = await self._openai.embed(self.model, batch)
        if len(found) != len(batch):
            raise EmbedderUnavailableError(f"{what} returned {len(found)} vectors for {len(batch)} texts.")
        vectors = [unit(vector) for vector in found]
        if not all(vectors) or len({len(vector) for vector in vectors}) > 1:
            raise EmbedderUnavailableError(f"{what} returned vectors of no length, or of several.")
        return vectors


@asynccontextmanager
async def open_openai_embedder(
    *, api_key: str, base_url: str, model: str, batch: int, provider: str = AUTO
) -> AsyncIterator[OpenAIEmbedder]:
    """The embedder; makes no connection before its first call."""
    async with open_openai(api_key=api_key, base_url=base_url, dialect=dialect_of(provider, base_url)) as openai:
        yield OpenAIEmbedder(openai, model=model, batch=batch)
