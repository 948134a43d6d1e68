"""Wiring of traces: where spans go, and the parts of an answer that make them."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.protocols import AnswerJudge, ChatModel, Embedder, Reranker, ToolSource, Tracer, VectorSearch

SERVICE = "headrace-chat"


def open_tracer(settings: Settings) -> AbstractAsyncContextManager[Tracer | None]:
    """The tracer, if spans are to be sent anywhere."""
    if not settings.otel_exporter_otlp_endpoint:
        return nullcontext()
    from headrace.observability.otel import open_otel_tracer

    return open_otel_tracer(
        settings.otel_exporter_otlp_endpoint, headers=settings.otel_exporter_otlp_headers, service=SERVICE
    )


@dataclass(frozen=True, slots=True)
class Tracing:
    """Puts spans around parts; without a tracer, parts stay as they are, and nothing is imported."""

    tracer: Tracer | None

    def embedder(self, part: Embedder) -> Embedder:
        if self.tracer is None:
            return part
        from headrace.observability.traced import TracedEmbedder

        return TracedEmbedder(part, self.tracer)

    def search(self, part: VectorSearch, kind: str) -> VectorSearch:
        if self.tracer is None:
            return part
        from headrace.observability.traced import TracedSearch

        return TracedSearch(part, self.tracer, kind)

    def reranker(self, part: Reranker | None) -> Reranker | None:
        if self.tracer is None or part is None:
            return part
        from headrace.observability.traced import TracedReranker

        return TracedReranker(part, self.tracer)

    def model(self, part: ChatModel, provider: str) -> ChatModel:
        if self.tracer is None:
            return part
        from headrace.observability.traced import TracedModel

        return TracedModel(part, self.tracer, provider)

    def judge(self, part: AnswerJudge) -> AnswerJudge:
        if self.tracer is None:
            return part
        from headrace.observability.traced import TracedJudge

        return TracedJudge(part, self.tracer)

    def tools(self, parts: Sequence[ToolSource]) -> Sequence[ToolSource]:
        if self.tracer is None:
            return parts
        from headrace.observability.traced import TracedTools

        return [TracedTools(part, self.tracer) for part in parts]
