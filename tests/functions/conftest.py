"""The functions' parts, real ones, on the servers of the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from functions.chat.app import create_app
from functions.chat.dependencies import ChatDependencies, Sockets
from functions.chat.load import Load
from functions.chat.metrics import Report
from functions.ingest.dependencies import IngestDependencies
from headrace.agents.agent import Agent
from headrace.agents.limits import AgentLimits
from headrace.answering.dependencies import AnswerDependencies, NearQuestions
from headrace.answering.dialogue import DialogueManager
from headrace.answering.extractive import ExtractiveAnswerer
from headrace.answering.generation import LanguageModelAnswerer
from headrace.answering.judge import ModelJudge
from headrace.auth.loopback import LoopbackAuthenticator
from headrace.concurrency.on_demand import OnDemand
from headrace.embedders.minilm import MiniLMEmbedder
from headrace.protocols import (
    Answerer,
    Authenticator,
    ChatModel,
    Files,
    Ledger,
    LedgerQueue,
    RateLimiter,
    Tool,
    ToolSource,
    Tracer,
)
from headrace.rate_limits import RateLimits
from headrace.redis_state.answer_cache.cache import CacheLimits, RedisCache
from headrace.redis_state.answer_cache.maintenance import RedisCacheMaintenance
from headrace.redis_state.answer_cache.question_index import LocalQuestionIndex
from headrace.redis_state.conversations import RedisConversations
from headrace.redis_state.limits import RedisRateLimiter
from headrace.redis_state.registry import RedisRegistry
from headrace.redis_state.relay import RedisRelay
from headrace.redis_state.run_log import RedisRunLog
from headrace.retrieval.retriever import RetrievalOptions, Retriever
from headrace.runs.runs import Runs
from headrace.single_flight.flight import SingleFlight
from headrace.stores.qdrant import QdrantStore
from headrace.tools.sources import DocumentTools, FixedTools
from headrace.types import Principal, Role
from headrace.wiring.traces import Tracing
from tests.support.ingest import FolderBucket, LineParser
from tests.support.library import Library


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that the local model is asked to embed, as they come."""
    texts: list[str] = []
    embed = MiniLMEmbedder.embed

    async def noting(embedder: MiniLMEmbedder, some: Sequence[str]) -> list[Sequence[float]]:
        texts.extend(some)
        return await embed(embedder, some)

    monkeypatch.setattr(MiniLMEmbedder, "embed", noting)
    return texts


@pytest.fixture
def library(tenant: str, embedder: MiniLMEmbedder, store: QdrantStore, registry: RedisRegistry) -> Library:
    return Library(tenant, embedder, store, registry)


@pytest.fixture
def answer_deps(
    embedder: MiniLMEmbedder, store: QdrantStore, registry: RedisRegistry, redis: Redis
) -> Callable[..., AnswerDependencies]:
    """Makes what answering works with: a model writes, or without one the documents are quoted; a model may judge."""

    def make(
        model: ChatModel | None = None,
        *,
        judge: ChatModel | None = None,
        cache_seconds: float = 5.0,
        reader: ChatModel | None = None,
        tools: Sequence[Tool] = (),
        limits: AgentLimits | None = None,
        retrieval_limit: int = 6,
        tracer: Tracer | None = None,
    ) -> AnswerDependencies:
        traced = Tracing(tracer)
        model = None if model is None else traced.model(model, "openai")
        options = RetrievalOptions(limit=retrieval_limit, min_similarity=embedder.relevance_floor, context_tokens=1000)
        quotes = ExtractiveAnswerer()
        answerer = quotes if model is None else LanguageModelAnswerer(model, max_tokens=100)
        retriever = Retriever(
            embedder=traced.embedder(embedder), store=traced.search(store, "qdrant"), registry=registry, options=options
        )
        documents = DocumentTools(retriever, store, registry)
        others: list[Answerer] = [quotes]
        caller = None
        if model is not None:
            sources: list[ToolSource] = [documents, FixedTools(tools)]
            others = [Agent(model, traced.tools(sources), max_tokens=100, limits=limits), quotes]
            caller = Agent(model, (), max_tokens=100, limits=limits, name="headrace")
        return AnswerDependencies(
            retriever=retriever,
            registry=registry,
            cache=RedisCache(redis, LocalQuestionIndex(redis, most_bytes=10**8), CacheLimits(60, cache_seconds)),
            single_flight=SingleFlight(RedisRelay(redis)),
            checks={"registry": registry, "model": answerer},
            conversations=RedisConversations(redis, ttl_seconds=60),
            answerer=answerer,
            other_answerers={} if model is None else {other.name: other for other in others},
            tool_caller=caller,
            document_tools=documents,
            dialogue=None if model is None or reader is None else DialogueManager(reader, model, max_tokens=100),
            near_questions=None
            if judge is None
            else NearQuestions(traced.judge(ModelJudge(judge)), timeout_seconds=1.0),
        )

    return make


@pytest.fixture
def chat_app(answer_deps: Callable[..., AnswerDependencies], tenant: str, redis: Redis) -> Callable[..., Any]:
    """Makes the chat application for a model; whoever asks is the test's tenant."""

    def make(
        model: ChatModel | None = None,
        *,
        deadline_seconds: float = 30.0,
        files: Files | None = None,
        max_document_bytes: int = 0,
        principal: Principal | None = None,
        report: Report | None = None,
        judge: ChatModel | None = None,
        authenticator: Authenticator | None = None,
        limiter: RateLimiter | None = None,
        most_open: int = 1000,
        citations: str = "none",
        cache_seconds: float = 5.0,
        reader: ChatModel | None = None,
        grace_seconds: float = 0.0,
        sockets: Sockets | None = None,
        tools: Sequence[Tool] = (),
        limits: AgentLimits | None = None,
        ledger_queue: LedgerQueue | None = None,
        ledger: OnDemand[Ledger] | None = None,
        retrieval_limit: int = 6,
        tracer: Tracer | None = None,
        trace_url: str = "",
        exposition: Callable[[], bytes] | None = None,
    ) -> Any:
        answering = answer_deps(
            model, judge=judge, cache_seconds=cache_seconds, reader=reader, tools=tools, limits=limits,
            retrieval_limit=retrieval_limit, tracer=tracer,
        )  # fmt: skip

        @asynccontextmanager
        async def open_dependencies() -> AsyncIterator[ChatDependencies]:
            cache_maintenance = RedisCacheMaintenance(redis, tenant_bytes=10**8, tenant_entries=1000)
            runs = Runs(RedisRunLog(redis), grace_seconds=grace_seconds)
            yield ChatDependencies(
                answering=answering,
                deadline_seconds=deadline_seconds,
                authenticator=authenticator or LoopbackAuthenticator(principal or Principal(tenant, role=Role.ADMIN)),
                limiter=limiter or RedisRateLimiter(redis, RateLimits(10_000, 1000)),
                load=Load(most_open),
                runs=runs,
                sockets=sockets,
                cache_maintenance=cache_maintenance,
                files=files,
                max_document_bytes=max_document_bytes,
                report=report,
                citations=citations,
                ledger_queue=ledger_queue,
                ledger=ledger,
                tracer=tracer,
                trace_url=trace_url,
                exposition=exposition,
            )
            await runs.aclose()

        return create_app(open_dependencies)

    return make


@pytest.fixture
def bucket() -> FolderBucket:
    return FolderBucket()


@pytest.fixture
def ingest_deps(
    bucket: FolderBucket, embedder: MiniLMEmbedder, store: QdrantStore, registry: RedisRegistry
) -> IngestDependencies:
    return IngestDependencies(
        bucket=bucket, parser=LineParser(), embedder=embedder, store=store, registry=registry, max_document_bytes=10_000
    )
