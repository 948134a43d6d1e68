"""Settings in, protocols out: the only place that chooses a vendor, and imports no more than the chosen one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.settings import EXTRACTIVE_MODEL, Settings

if TYPE_CHECKING:
    from redis.asyncio import Redis  # noqa: TID251 - the type only

    from headrace.answering.dependencies import AnswerDependencies, NearQuestions
    from headrace.protocols import (
        AnswerCache,
        Answerer,
        Bucket,
        CacheMaintenance,
        ChatModel,
        Conversations,
        DocumentRegistry,
        Embedder,
        InvalidationPlanner,
        Parser,
        Queue,
        Reranker,
        Uploads,
        VectorSearch,
        VectorStore,
    )
    from headrace.retrieval.retriever import Retriever
    from headrace.single_flight.flight import SingleFlight


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
            from headrace.stores.pinecone import PineconeRegion, open_pinecone_store

            region = PineconeRegion(settings.pinecone_cloud, settings.pinecone_region)
            return open_pinecone_store(
                settings.pinecone_url, api_key=settings.pinecone_api_key, collection=collection, region=region
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
    from headrace.clients.redis import open_redis

    return open_redis(settings.redis_url, mode=settings.redis_mode)


def registry_on(client: Redis) -> DocumentRegistry:
    """The document registry."""
    from headrace.redis_state.registry import RedisRegistry

    return RedisRegistry(client)


def cache_on(client: Redis, settings: Settings) -> AnswerCache:
    """The answer cache."""
    from headrace.redis_state.answer_cache.cache import CacheLimits, RedisCache

    limits = CacheLimits(
        ttl_seconds=settings.cache_ttl_seconds,
        timeout_seconds=settings.cache_timeout_seconds,
        tenant_bytes=settings.cache_tenant_bytes,
        tenant_entries=settings.cache_tenant_entries,
        answer_bytes=settings.cache_answer_bytes,
    )
    if settings.cache_index == "server":
        from headrace.redis_state.answer_cache.server_index import ServerQuestionIndex

        return RedisCache(client, ServerQuestionIndex(client), limits)
    from headrace.redis_state.answer_cache.question_index import LocalQuestionIndex

    return RedisCache(client, LocalQuestionIndex(client, most_bytes=settings.cache_local_index_bytes), limits)


def invalidation_planner_on(client: Redis, settings: Settings) -> InvalidationPlanner:
    """What finds the cached answers that a new version of a document invalidates."""
    from headrace.redis_state.answer_cache.invalidation import RedisInvalidationPlanner
    from headrace.redis_state.answer_cache.question_index import LocalQuestionIndex

    index = LocalQuestionIndex(client, most_bytes=settings.cache_local_index_bytes)
    return RedisInvalidationPlanner(client, index)


def single_flight_on(client: Redis, listening: Redis) -> SingleFlight:
    """Where equal questions meet; a follower waits on a connection of the client for `listening`."""
    from headrace.redis_state.relay import RedisRelay
    from headrace.single_flight.flight import SingleFlight

    return SingleFlight(RedisRelay(client, listening))


def cache_maintenance_on(client: Redis, settings: Settings) -> CacheMaintenance:
    """What keeps the answer cache in order."""
    from headrace.redis_state.answer_cache.maintenance import RedisCacheMaintenance

    return RedisCacheMaintenance(
        client, tenant_bytes=settings.cache_tenant_bytes, tenant_entries=settings.cache_tenant_entries
    )


@asynccontextmanager
async def open_answering(settings: Settings, client: Redis) -> AsyncIterator[AnswerDependencies]:
    """All that answering takes."""
    from headrace.answering.dependencies import AnswerDependencies

    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings))
        embedder = await stack.enter_async_context(open_embedder(settings))
        model = None
        if settings.chat_model != EXTRACTIVE_MODEL:
            model = await stack.enter_async_context(open_chat_model(settings, settings.chat_model))
        answerer = answerer_on(model, settings)
        near_questions = await stack.enter_async_context(open_near_questions(settings, chat_model=model))
        reranker = await stack.enter_async_context(open_reranker(settings))
        registry = registry_on(client)
        yield AnswerDependencies(
            retriever=retriever_on(settings, embedder, store, registry, reranker),
            registry=registry,
            cache=cache_on(client, settings),
            single_flight=single_flight_on(client, await stack.enter_async_context(open_redis(settings))),
            conversations=conversations_on(client, settings),
            answerer=answerer,
            near_questions=near_questions,
            checks={"registry": registry, "store": store, "embedder": embedder, "model": answerer},
        )


def answerer_on(model: ChatModel | None, settings: Settings) -> Answerer:
    """What makes answers: a language model, or without one quotes from the documents."""
    if model is None:
        from headrace.answering.extractive import ExtractiveAnswerer

        return ExtractiveAnswerer()
    from headrace.answering.generation import LanguageModelAnswerer

    return LanguageModelAnswerer(model, max_tokens=settings.answer_max_tokens)


@asynccontextmanager
async def open_near_questions(
    settings: Settings, *, chat_model: ChatModel | None = None
) -> AsyncIterator[NearQuestions | None]:
    """The judge of cached answers to near questions; none where answers cost nothing, or where it is turned off.

    Where it is the chat model, and that is open already, both share it and its connections.
    """
    judge_model = settings.judge_model or settings.chat_model
    if settings.cache_judge == "off" or EXTRACTIVE_MODEL in {settings.chat_model, judge_model}:
        yield None
        return
    from headrace.answering.dependencies import NearQuestions
    from headrace.answering.judge import ModelJudge

    shared = chat_model if judge_model == settings.chat_model else None
    opening = open_chat_model(settings, judge_model) if shared is None else nullcontext(shared)
    async with opening as model:
        yield NearQuestions(
            ModelJudge(model), settings.cache_judge_timeout_seconds, settings.cache_candidate_similarity
        )


def conversations_on(client: Redis, settings: Settings) -> Conversations:
    """The conversations."""
    from headrace.redis_state.conversations import RedisConversations

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


def open_chat_model(settings: Settings, model: str) -> AbstractAsyncContextManager[ChatModel]:
    """A language model behind OpenAI's API."""
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
    return open_chat_model(settings, settings.chunk_context_model)


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
