"""The functions' parts, real ones, on the servers of the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from functions.chat.app import create_app
from functions.chat.parts import ChatParts
from functions.ingest.pipeline import IngestParts
from headrace.answering.answer import AnswerParts
from headrace.answering.flights import Flights
from headrace.answering.recall import CALIBRATED
from headrace.caches.indexes import MirrorIndex
from headrace.caches.redis import CacheLimits, RedisCache
from headrace.caches.upkeep import RedisUpkeep
from headrace.conversations.redis import RedisConversations
from headrace.embedders.minilm import MiniLMEmbedder
from headrace.flights.redis import RedisRelay
from headrace.models.extractive import ExtractiveModel
from headrace.protocols import ChatModel, Uploads
from headrace.registries.redis import RedisRegistry
from headrace.retrieval.retriever import RetrievalOptions, Retriever
from headrace.stores.qdrant import QdrantStore
from headrace.types import Principal
from tests.support.ingest import FolderBucket, LineParser
from tests.support.library import Library


@pytest.fixture
def library(tenant: str, embedder: MiniLMEmbedder, store: QdrantStore, registry: RedisRegistry) -> Library:
    return Library(tenant, embedder, store, registry)


@pytest.fixture
def answer_parts(
    embedder: MiniLMEmbedder, store: QdrantStore, registry: RedisRegistry, redis: Redis
) -> Callable[..., AnswerParts]:
    def make(model: ChatModel | None = None) -> AnswerParts:
        options = RetrievalOptions(min_similarity=embedder.relevance_floor, context_tokens=1000)
        return AnswerParts(
            retriever=Retriever(embedder=embedder, store=store, registry=registry, options=options),
            registry=registry,
            cache=RedisCache(redis, MirrorIndex(redis, most_bytes=10**8), CacheLimits(60, 5.0)),
            flights=Flights(RedisRelay(redis)),
            thresholds=CALIBRATED[embedder.model],
            checks={"registry": registry, "model": model or ExtractiveModel()},
            conversations=RedisConversations(redis, ttl_seconds=60),
            model=model or ExtractiveModel(),
            max_tokens=100,
        )

    return make


@pytest.fixture
def chat_app(answer_parts: Callable[..., AnswerParts], tenant: str, redis: Redis) -> Callable[..., Any]:
    """Makes the chat application for a model; whoever asks is the test's tenant."""

    def make(
        model: ChatModel | None = None,
        *,
        deadline_seconds: float = 30.0,
        uploads: Uploads | None = None,
        max_document_bytes: int = 0,
        principal: Principal | None = None,
        report: Callable[[str, int], None] | None = None,
    ) -> Any:
        answering = answer_parts(model)

        @asynccontextmanager
        async def open_parts() -> AsyncIterator[ChatParts]:
            upkeep = RedisUpkeep(redis, tenant_bytes=10**8, tenant_entries=1000)
            yield ChatParts(answering, deadline_seconds, upkeep, uploads, max_document_bytes, report)

        app = create_app(open_parts)
        from functions.chat.parts import principal_of

        app.dependency_overrides[principal_of] = lambda: principal or Principal(tenant)
        return app

    return make


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
