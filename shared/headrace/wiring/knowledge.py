"""Wiring of retrieval: vector store, embedding model, reranking model, retriever."""

from __future__ import annotations

import hashlib
import re
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.settings import Settings
from headrace.wiring.environment import aws_access

if TYPE_CHECKING:
    from headrace.protocols import DocumentRegistry, Embedder, Reranker, VectorSearch, VectorStore
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
            from headrace.stores.pinecone import PineconeRegion, open_pinecone_store

            region = PineconeRegion(settings.pinecone_cloud, settings.pinecone_region)
            return open_pinecone_store(
                settings.pinecone_url, api_key=settings.pinecone_api_key, collection=collection, region=region
            )
        case "s3vectors":
            from headrace.stores.s3vectors import open_s3_vector_store

            return open_s3_vector_store(aws_access(settings), bucket=settings.vector_bucket, collection=collection)
        case "redis":
            from headrace.stores.redis import open_redis_store

            return open_redis_store(settings.vector_redis_url or settings.redis_url, collection=collection)
        case "embedded":
            from headrace.stores.edge import open_embedded_store

            return open_embedded_store(Path(settings.embedded_folder), collection=collection)
        case _:
            from headrace.stores.qdrant import open_qdrant_store

            return open_qdrant_store(settings.qdrant_url, api_key=settings.qdrant_api_key, collection=collection)


def open_embedder(settings: Settings) -> AbstractAsyncContextManager[Embedder]:
    """The embedder: MiniLM on this machine, one of Bedrock's, or any behind OpenAI's API."""
    match settings.embedding_model:
        case "all-MiniLM-L6-v2":
            from headrace.embedders.minilm import open_minilm_embedder

            return open_minilm_embedder(settings.embedding_model)
        case model if settings.openai_provider == "bedrock":
            from headrace.embedders.bedrock import open_bedrock_embedder

            return open_bedrock_embedder(aws_access(settings), model=model)
        case model:
            from headrace.embedders.openai import open_openai_embedder

            return open_openai_embedder(
                api_key=settings.openai_api_key,
                base_url=settings.openai_base_url,
                model=model,
                batch=settings.embedding_batch,
                provider=settings.openai_provider,
            )


def open_reranker(settings: Settings) -> AbstractAsyncContextManager[Reranker | None]:
    """The reranking model, if one is configured."""
    if not settings.rerank_url:
        return nullcontext()
    from headrace.rerankers.http import open_http_reranker

    return open_http_reranker(settings.rerank_url, api_key=settings.rerank_api_key, model=settings.rerank_model)


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
