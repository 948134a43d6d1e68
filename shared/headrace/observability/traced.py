"""Parts of an answer with a span around what they do, named as OpenTelemetry's conventions for generative AI have it.

No question, answer or document is in them. Reference: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from headrace.protocols import (
    AnswerJudge,
    Attribute,
    ChatModel,
    Embedder,
    Reranker,
    Tool,
    ToolSource,
    Tracer,
    VectorSearch,
)
from headrace.types import (
    CacheEntry,
    Chunk,
    ChunkId,
    Constraint,
    JudgeVerdict,
    Message,
    ModelChunk,
    ModelOptions,
    Passage,
    Principal,
    SearchRequest,
    SearchResult,
    ToolChoice,
    ToolResult,
    ToolSpec,
    ToolUse,
)

OPERATION, PROVIDER, MODEL = "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"


@dataclass(frozen=True, slots=True)
class TracedEmbedder:
    """An Embedder with a span around each call."""

    inner: Embedder
    tracer: Tracer

    @property
    def model(self) -> str:
        return self.inner.model

    @property
    def relevance_floor(self) -> float:
        return self.inner.relevance_floor

    @property
    def max_tokens(self) -> int:
        return self.inner.max_tokens

    def count_tokens(self, text: str) -> int:
        return self.inner.count_tokens(text)

    async def check(self) -> None:
        await self.inner.check()

    async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        with self.tracer.span(f"embeddings {self.model}", {OPERATION: "embeddings", MODEL: self.model}) as span:
            vectors = await self.inner.embed(texts)
            if vectors:
                span.set({"gen_ai.embeddings.dimension.count": len(vectors[0])})
            return vectors


@dataclass(frozen=True, slots=True)
class TracedSearch:
    """A VectorSearch with a span around each search; `kind` is the store's, as VECTOR_STORE names it."""

    inner: VectorSearch
    tracer: Tracer
    kind: str

    async def check(self) -> None:
        await self.inner.check()

    async def search(self, request: SearchRequest) -> SearchResult:
        attributes: dict[str, Attribute] = {
            OPERATION: "retrieval", "gen_ai.data_source.id": self.kind, "headrace.limit": request.limit,
        }  # fmt: skip
        with self.tracer.span(f"retrieval {self.kind}", attributes) as span:
            result = await self.inner.search(request)
            best = {"headrace.best_score": result.passages[0].score} if result.passages else {}
            span.set({"headrace.passages": len(result.passages), **best})
            return result

    async def chunks(self, tenant: str, identities: Collection[ChunkId]) -> list[Chunk]:
        return await self.inner.chunks(tenant, identities)


@dataclass(frozen=True, slots=True)
class TracedReranker:
    """A Reranker with a span around each call."""

    inner: Reranker
    tracer: Tracer

    @property
    def model(self) -> str:
        return self.inner.model

    async def check(self) -> None:
        await self.inner.check()

    async def rerank(self, question: str, passages: Sequence[Passage]) -> list[float]:
        with self.tracer.span(f"rerank {self.model}", {MODEL: self.model}):
            return await self.inner.rerank(question, passages)


@dataclass(frozen=True, slots=True)
class TracedModel:
    """A ChatModel with a span from a stream's beginning to its end. `provider` is the server's kind."""

    inner: ChatModel
    tracer: Tracer
    provider: str

    @property
    def name(self) -> str:
        return self.inner.name

    async def check(self) -> None:
        await self.inner.check()

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        tools: Sequence[ToolSpec] = (),
        tool_choice: ToolChoice = ToolUse.AUTO,
        constraint: Constraint | None = None,
        options: ModelOptions | None = None,
    ) -> AsyncGenerator[ModelChunk, None]:
        attributes: dict[str, Attribute] = {
            OPERATION: "chat", PROVIDER: self.provider, MODEL: self.name, "gen_ai.request.max_tokens": max_tokens,
        }  # fmt: skip
        began, has_begun = time.monotonic(), False
        chunks = self.inner.stream(
            messages,
            max_tokens=max_tokens,
            tools=tools,
            tool_choice=tool_choice,
            constraint=constraint,
            options=options,
        )
        with self.tracer.span(f"chat {self.name}", attributes, is_current=False) as span:
            async with aclosing(chunks):
                async for chunk in chunks:
                    if not has_begun:
                        has_begun = True
                        span.set({"gen_ai.response.time_to_first_chunk": time.monotonic() - began})
                    span.set(_told(chunk))
                    yield chunk


def _told(chunk: ModelChunk) -> dict[str, Attribute]:
    """What a stream's last piece says of all of it."""
    told: dict[str, Attribute] = {}
    if chunk.usage is not None:
        told |= {
            "gen_ai.usage.input_tokens": chunk.usage.prompt_tokens,
            "gen_ai.usage.output_tokens": chunk.usage.completion_tokens,
        }
    if chunk.finish_reason is not None:
        told["gen_ai.response.finish_reasons"] = [str(chunk.finish_reason)]
    if chunk.model:
        told["gen_ai.response.model"] = chunk.model
    return told


@dataclass(frozen=True, slots=True)
class TracedJudge:
    """An AnswerJudge with a span around each verdict."""

    inner: AnswerJudge
    tracer: Tracer

    @property
    def name(self) -> str:
        return self.inner.name

    async def judge(self, question: str, candidates: Sequence[CacheEntry]) -> JudgeVerdict:
        with self.tracer.span("judge", {"headrace.candidates": len(candidates)}):
            return await self.inner.judge(question, candidates)


@dataclass(frozen=True, slots=True)
class TracedTool:
    """A Tool with a span around each call."""

    inner: Tool
    tracer: Tracer

    @property
    def spec(self) -> ToolSpec:
        return self.inner.spec

    @property
    def timeout_seconds(self) -> float:
        return self.inner.timeout_seconds

    @property
    def writes(self) -> bool:
        return self.inner.writes

    @property
    def is_of_documents(self) -> bool:
        return self.inner.is_of_documents

    async def call(self, arguments: Mapping[str, Any], principal: Principal) -> ToolResult:
        name = self.spec.name
        attributes: dict[str, Attribute] = {
            OPERATION: "execute_tool", "gen_ai.tool.name": name, "gen_ai.tool.type": "function",
        }  # fmt: skip
        with self.tracer.span(f"execute_tool {name}", attributes):
            return await self.inner.call(arguments, principal)


@dataclass(frozen=True, slots=True)
class TracedTools:
    """A ToolSource whose tools are traced."""

    inner: ToolSource
    tracer: Tracer

    @property
    def is_of_documents(self) -> bool:
        return self.inner.is_of_documents

    async def tools(self, filter_: Mapping[str, Any]) -> Sequence[Tool]:
        return [TracedTool(tool, self.tracer) for tool in await self.inner.tools(filter_)]
