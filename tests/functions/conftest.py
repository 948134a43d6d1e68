"""The functions' parts, real ones, on the servers of the tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from functions.chat.retrieve import RetrievalLimits, Retriever
from redis.asyncio import Redis

from functions.chat.answer import AnswerParts
from functions.chat.app import ChatParts, create_app
from functions.ingest.chunk import chunk_blocks
from functions.ingest.pipeline import IngestParts
from headrace.caches.redis import RedisCache
from headrace.conversations.redis import RedisConversations
from headrace.embedders.minilm import MiniLMEmbedder
from headrace.errors import DocumentError
from headrace.models.extractive import ExtractiveModel
from headrace.protocols import ChatModel
from headrace.registries.redis import RedisRegistry
from headrace.stores.qdrant import QdrantStore
from headrace.types import Block, Document, DocumentKey, DocumentState, EmbeddedChunk, ObjectVersion, Principal


@dataclass
class Library:
    """Puts texts straight into store and registry, as ingest would leave them."""

    tenant: str
    embedder: MiniLMEmbedder
    store: QdrantStore
    registry: RedisRegistry

    async def put(self, name: str, *blocks: Block | str, tenant: str | None = None) -> str:
        key = DocumentKey(f"documents/{tenant or self.tenant}/{name}")
        generation = await self.registry.begin(key)
        made = chunk_blocks(
            [block if isinstance(block, Block) else Block(block) for block in blocks],
            document_key=key.key, generation=generation,
        )  # fmt: skip
        vectors = await self.embedder.embed([chunk.text_to_embed for chunk in made])
        await self.store.ensure(len(vectors[0]))
        await self.store.upsert([EmbeddedChunk(c, v) for c, v in zip(made, vectors, strict=True)])
        document = Document(key.key, DocumentState.READY, generation=generation, chunks=len(made))
        await self.registry.save(document, attempt=generation)
        await self.store.retire(key, before=generation)
        return key.key


@pytest.fixture
def library(tenant: str, embedder: MiniLMEmbedder, store: QdrantStore, registry: RedisRegistry) -> Library:
    return Library(tenant, embedder, store, registry)


@pytest.fixture
def answer_parts(
    embedder: MiniLMEmbedder, store: QdrantStore, registry: RedisRegistry, redis: Redis
) -> Callable[..., AnswerParts]:
    def make(model: ChatModel | None = None) -> AnswerParts:
        limits = RetrievalLimits(6, embedder.relevance_floor)
        return AnswerParts(
            retriever=Retriever(embedder=embedder, store=store, registry=registry, limits=limits),
            registry=registry,
            cache=RedisCache(redis, ttl_seconds=60, timeout_seconds=5.0),
            conversations=RedisConversations(redis, ttl_seconds=60),
            model=model or ExtractiveModel(),
            max_tokens=100,
        )

    return make


@pytest.fixture
def chat_app(answer_parts: Callable[..., AnswerParts], tenant: str) -> Callable[..., Any]:
    """Makes the chat application for a model; whoever asks is the test's tenant."""

    def make(model: ChatModel | None = None, *, deadline_seconds: float = 30.0) -> Any:
        answering = answer_parts(model)

        @asynccontextmanager
        async def open_parts() -> AsyncIterator[ChatParts]:
            checks = {"registry": answering.registry, "model": answering.model}
            yield ChatParts(answering, checks, deadline_seconds)

        app = create_app(open_parts)
        from functions.chat.app import principal_of

        app.dependency_overrides[principal_of] = lambda: Principal(tenant)
        return app

    return make


class FolderBucket:
    """A Bucket in memory, for histories that no server would be told."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.puts = 0

    def put(self, key: str, content: bytes) -> None:
        self.files[key] = content
        self.puts += 1

    async def check(self) -> None:
        """Always ready."""

    async def head(self, key: str) -> ObjectVersion | None:
        await asyncio.sleep(0)
        content = self.files.get(key)
        if content is None:
            return None
        return ObjectVersion(key, f"{hash(content):x}", len(content), 1000.0 + self.puts)

    async def fetch(self, key: str, path: Path, *, max_bytes: int) -> ObjectVersion | None:
        version = await self.head(key)
        if version is None:
            return None
        if version.size_bytes > max_bytes:
            raise DocumentError("The file is too large.")
        content = self.files[key]
        await asyncio.to_thread(path.write_bytes, content)
        return ObjectVersion(key, f"{hash(content):x}", len(content), version.modified_at)

    async def objects(self, prefix: str) -> AsyncIterator[ObjectVersion]:
        for key in sorted(self.files):
            version = await self.head(key)
            if key.startswith(prefix) and version is not None:
                yield version


class LineParser:
    """A Parser for plain lines; a file that begins with `!` can't be read."""

    async def check(self) -> None:
        """Always ready."""

    async def parse(self, path: Path, *, name: str, content_type: str) -> list[Block]:
        text = await asyncio.to_thread(path.read_text)
        if text.startswith("!"):
            raise DocumentError("The file begins with a bang. Take it away.")
        return [Block(line) for line in text.splitlines() if line]


@pytest.fixture
def bucket() -> FolderBucket:
    return FolderBucket()


@pytest.fixture
def ingest_parts(
    bucket: FolderBucket, embedder: MiniLMEmbedder, store: QdrantStore, registry: RedisRegistry
) -> IngestParts:
    return IngestParts(
        bucket=bucket, parser=LineParser(), embedder=embedder, store=store, registry=registry, max_document_bytes=10_000
    )
