"""Settings in, protocols out: the only place that chooses a vendor, and imports no more than the chosen one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.settings import Settings

if TYPE_CHECKING:
    from redis.asyncio import Redis  # noqa: TID251 - the type only

    from headrace.answering.answer import AnswerParts
    from headrace.answering.flights import Flights
    from headrace.answering.recall import Thresholds
    from headrace.protocols import (
        AnswerCache,
        AnswerWatch,
        Bucket,
        CacheUpkeep,
        ChatModel,
        Conversations,
        DocumentRegistry,
        Embedder,
        Parser,
        Queue,
        Reranker,
        Uploads,
        VectorSearch,
        VectorStore,
    )
    from headrace.retrieval.retriever import Retriever


def collection_of(settings: Settings) -> str:
    """The collection's name. Each embedding model has one of its own, for their vectors can't be compared."""
    model = settings.embedding_model
    plain = re.sub(r"[^A-Za-z0-9]+", "-", model).strip("-").lower()
    # Two names that differ in what is not kept here are two models.
    return f"{settings.collection_prefix}-{plain}-{hashlib.sha256(model.encode()).hexdigest()[:6]}"


def open_store(settings: Settings) -> AbstractAsyncContextManager[VectorStore]:
    """The vector store."""
    collection = collection_of(settings)
    match settings.vector_store:
        case "pinecone":
            from headrace.stores.pinecone import PineconePlace, open_pinecone_store

            place = PineconePlace(settings.pinecone_cloud, settings.pinecone_region)
            return open_pinecone_store(
                settings.pinecone_url, api_key=settings.pinecone_api_key, collection=collection, place=place
            )
        case "redis":
            from headrace.stores.redis import open_redis_store

            return open_redis_store(settings.vector_redis_url or settings.redis_url, collection=collection)
        case "embedded":
            from headrace.stores.edge import open_embedded_store

            return open_embedded_store(Path(settings.embedded_folder), collection=collection)
        case _:
            from headrace.stores.qdrant import open_qdrant_store

            return open_qdrant_store(settings.qdrant_url, api_key=settings.qdrant_api_key, collection=collection)


def open_reranker(settings: Settings) -> AbstractAsyncContextManager[Reranker | None]:
    """The reranking model, if one is configured."""
    if not settings.rerank_url:
        return nullcontext()
    from headrace.rerankers.http import open_http_reranker

    return open_http_reranker(settings.rerank_url, api_key=settings.rerank_api_key, model=settings.rerank_model)


def open_redis(settings: Settings) -> AbstractAsyncContextManager[Redis]:
    """The connection that registry, cache and conversations share."""
    from headrace.redis_client import open_redis

    return open_redis(settings.redis_url, mode=settings.redis_mode)


def registry_on(client: Redis) -> DocumentRegistry:
    """The document registry."""
    from headrace.registries.redis import RedisRegistry

    return RedisRegistry(client)


def cache_on(client: Redis, settings: Settings) -> AnswerCache:
    """The answer cache."""
    from headrace.caches.indexes import MirrorIndex
    from headrace.caches.redis import CacheLimits, RedisCache
    from headrace.caches.search import SearchIndex

    limits = CacheLimits(
        ttl_seconds=settings.cache_ttl_seconds,
        timeout_seconds=settings.cache_timeout_seconds,
        tenant_bytes=settings.cache_tenant_bytes,
        tenant_entries=settings.cache_tenant_entries,
        answer_bytes=settings.cache_answer_bytes,
    )
    if settings.cache_index == "search":
        return RedisCache(client, SearchIndex(client), limits)
    return RedisCache(client, MirrorIndex(client, most_bytes=settings.cache_mirror_bytes), limits)


def watch_on(client: Redis, settings: Settings) -> AnswerWatch:
    """Who knows the cached answers that a new version puts an end to."""
    from headrace.caches.indexes import MirrorIndex
    from headrace.caches.watch import RedisWatch

    return RedisWatch(client, MirrorIndex(client, most_bytes=settings.cache_mirror_bytes))


def flights_on(client: Redis, listening: Redis) -> Flights:
    """Where equal questions in flight meet; who follows one waits on a connection of the client for `listening`."""
    from headrace.answering.flights import Flights
    from headrace.flights.redis import RedisRelay

    return Flights(RedisRelay(client, listening))


def upkeep_of(client: Redis, settings: Settings) -> CacheUpkeep:
    """What keeps the answer cache in order."""
    from headrace.caches.upkeep import RedisUpkeep

    return RedisUpkeep(client, tenant_bytes=settings.cache_tenant_bytes, tenant_entries=settings.cache_tenant_entries)


@asynccontextmanager
async def open_answering(settings: Settings, client: Redis) -> AsyncIterator[AnswerParts]:
    """All that an answer takes."""
    from headrace.answering.answer import AnswerParts

    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings))
        embedder = await stack.enter_async_context(open_embedder(settings))
        model = await stack.enter_async_context(open_chat_model(settings))
        reranker = await stack.enter_async_context(open_reranker(settings))
        registry = registry_on(client)
        yield AnswerParts(
            retriever=retriever_on(settings, embedder, store, registry, reranker),
            registry=registry,
            cache=cache_on(client, settings),
            flights=flights_on(client, await stack.enter_async_context(open_redis(settings))),
            conversations=conversations_on(client, settings),
            model=model,
            max_tokens=settings.answer_max_tokens,
            thresholds=thresholds_of(settings),
            checks={"registry": registry, "store": store, "embedder": embedder, "model": model},
        )


def thresholds_of(settings: Settings) -> Thresholds:
    """How near two questions must be to share an answer."""
    from headrace.answering.recall import CALIBRATED, UNCALIBRATED, Thresholds

    known = CALIBRATED.get(settings.embedding_model, UNCALIBRATED)
    same, near = settings.cache_same_similarity, settings.cache_near_similarity
    return Thresholds(known.same if same is None else same, known.near if near is None else near)


def conversations_on(client: Redis, settings: Settings) -> Conversations:
    """The conversations."""
    from headrace.conversations.redis import RedisConversations

    return RedisConversations(client, ttl_seconds=settings.conversation_ttl_seconds)


def retriever_on(
    settings: Settings,
    embedder: Embedder,
    store: VectorSearch,
    registry: DocumentRegistry,
    reranker: Reranker | None,
) -> Retriever:
    """The retriever, as the settings shape it."""
    from headrace.retrieval.retriever import RetrievalOptions, Retriever

    given = settings.retrieval_min_similarity
    options = RetrievalOptions(
        limit=settings.retrieval_limit,
        min_similarity=embedder.relevance_floor if given is None else given,
        dense_weight=settings.retrieval_dense_weight,
        context_tokens=settings.retrieval_context_tokens,
    )
    return Retriever(embedder=embedder, store=store, registry=registry, options=options, reranker=reranker)


def open_chat_model(settings: Settings) -> AbstractAsyncContextManager[ChatModel]:
    """The chat model: extractive, or any behind OpenAI's API."""
    match settings.chat_model:
        case "extractive":
            from headrace.models.extractive import ExtractiveModel

            return nullcontext(ExtractiveModel())
        case model:
            from headrace.models.openai import open_openai_model

            return open_openai_model(
                api_key=settings.openai_api_key,
                base_url=settings.openai_base_url,
                model=model,
                provider=settings.openai_provider,
            )


def open_embedder(settings: Settings) -> AbstractAsyncContextManager[Embedder]:
    """The embedder: MiniLM on this machine, or any behind OpenAI's API."""
    match settings.embedding_model:
        case "all-MiniLM-L6-v2":
            from headrace.embedders.minilm import open_minilm_embedder

            return open_minilm_embedder(settings.embedding_model)
        case model:
            from headrace.embedders.openai import open_openai_embedder

            return open_openai_embedder(
                api_key=settings.openai_api_key,
                base_url=settings.openai_base_url,
                model=model,
                batch=settings.embedding_batch,
                provider=settings.openai_provider,
            )


def open_parser(settings: Settings) -> AbstractAsyncContextManager[Parser]:
    """The parser: unstructured in a process of its own, or its hosted API."""
    if settings.parser == "unstructured-api":
        from headrace.parsers.unstructured_api import open_unstructured_api

        return open_unstructured_api(
            settings.unstructured_api_url,
            api_key=settings.unstructured_api_key,
            timeout_seconds=settings.parse_timeout_seconds,
        )
    from headrace.parsers.process import open_process_parser

    return open_process_parser(
        timeout_seconds=settings.parse_timeout_seconds,
        memory_bytes=settings.parse_memory_bytes,
        ocr_languages="" if settings.ocr_languages == "none" else settings.ocr_languages,
    )


def open_context_model(settings: Settings) -> AbstractAsyncContextManager[ChatModel | None]:
    """The model that writes what each chunk is about, if one is configured."""
    if not settings.chunk_context_model:
        return nullcontext()
    return open_chat_model(replace(settings, chat_model=settings.chunk_context_model))


def open_bucket(settings: Settings) -> AbstractAsyncContextManager[Bucket]:
    """The bucket where documents live."""
    from headrace.buckets.s3 import open_s3_bucket

    return open_s3_bucket(settings.bucket)


def uploads_to(settings: Settings) -> Uploads:
    """Forms to upload into the bucket with."""
    from headrace.buckets.uploads import S3Uploads

    return S3Uploads(settings.bucket)


def open_queue(settings: Settings) -> AbstractAsyncContextManager[Queue | None]:
    """The queue that wakes ingest, where there is one."""
    if not settings.queue_url:
        return nullcontext()
    from headrace.queues.sqs import open_sqs_queue

    return open_sqs_queue(settings.queue_url)
