"""Wiring of traces: where spans go, and the parts of an answer that make them."""

from __future__ import annotations

import re
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from headrace.settings import Settings
from headrace.wiring.environment import aws_access

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.observability.otel import Sign
    from headrace.protocols import AnswerJudge, ChatModel, Embedder, Reranker, ToolSource, Tracer, VectorSearch

SERVICE = "headrace-chat"
# Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-OTLPEndpoint.html
XRAY = re.compile(r"https://xray\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/?$")


def open_tracer(settings: Settings) -> AbstractAsyncContextManager[Tracer | None]:
    """The tracer, if spans are to be sent anywhere."""
    if not settings.otel_exporter_otlp_endpoint:
        return nullcontext()
    from headrace.observability.otel import open_otel_tracer

    return open_otel_tracer(
        settings.otel_exporter_otlp_endpoint,
        headers=settings.otel_exporter_otlp_headers,
        service=SERVICE,
        sign=xray_signer(settings),
    )


def xray_signer(settings: Settings) -> Sign | None:
    """What signs spans for X-Ray's own endpoint, which takes OTLP of who may write traces; None for any other."""
    found = XRAY.match(settings.otel_exporter_otlp_endpoint)
    if found is None:
        return None
    from headrace.clients.sigv4 import Signer

    access, region = aws_access(settings), found["region"]

    def sign(url: str, body: bytes) -> Mapping[str, str]:
        return Signer(access.keys_at_once(), region, "xray").headers("POST", url, body, {}, now=datetime.now(UTC))

    return sign


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
