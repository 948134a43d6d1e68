"""Spans by OpenTelemetry's SDK, sent over OTLP and HTTP. Loaded where an endpoint is configured.

Reference: https://opentelemetry.io/docs/specs/otlp/
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from urllib.parse import unquote

import requests
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from headrace.errors import ConfigurationError, HeadraceError
from headrace.protocols import Attribute

Sign = Callable[[str, bytes], Mapping[str, str]]

FLUSH_SECONDS = 2.0
# A collector that is away is left alone after so long; what it did not take is lost.
EXPORT_SECONDS = 3
PROPAGATOR = TraceContextTextMapPropagator()


class OtelSpan:
    """A Span of the SDK."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._has_ended = False

    @property
    def trace_parent(self) -> str:
        carrier: dict[str, str] = {}
        PROPAGATOR.inject(carrier, trace.set_span_in_context(self._span))
        return carrier.get("traceparent", "")

    def set(self, attributes: Mapping[str, Attribute]) -> None:
        self._span.set_attributes(attributes)

    def end(self, *, error: str = "") -> None:
        if self._has_ended:
            return
        self._has_ended = True
        if error:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class OtelTracer:
    """A Tracer of the SDK's provider, which stays the opener's to close."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("headrace")

    def begin(self, name: str, attributes: Mapping[str, Attribute], *, parent: str = "") -> OtelSpan:
        above = PROPAGATOR.extract({"traceparent": parent}) if parent else None
        span = self._tracer.start_span(name, above, SpanKind.SERVER, attributes)
        # The request's task and its children see it; with the task it is gone.
        context.attach(trace.set_span_in_context(span))
        return OtelSpan(span)

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, Attribute], *, is_current: bool = True) -> Iterator[OtelSpan]:
        made = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        span = OtelSpan(made)
        token = context.attach(trace.set_span_in_context(made)) if is_current else None
        try:
            yield span
        except BaseException as error:
            span.end(error=error.code if isinstance(error, HeadraceError) else type(error).__name__)
            raise
        finally:
            span.end()
            if token is not None:
                context.detach(token)

    async def flush(self) -> None:
        # The SDK's own limit is none.
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await asyncio.to_thread(self._provider.force_flush)


@asynccontextmanager
async def open_otel_tracer(
    endpoint: str, *, headers: str, service: str, sign: Sign | None = None
) -> AsyncIterator[OtelTracer]:
    """A tracer whose spans go to `endpoint` (without `/v1/traces`) in batches; `headers` is `name=value,…`.

    `sign` gives more headers for a request, by its URL and body, in a thread that may wait. Raises ConfigurationError.
    """
    exporter = OTLPSpanExporter(
        f"{endpoint.rstrip('/')}/v1/traces",
        headers=_read_headers(headers),
        timeout=EXPORT_SECONDS,
        session=_session(sign),
    )
    # It starts a thread of its own, which sends.
    provider = await asyncio.to_thread(_provider, exporter, service)
    try:
        yield OtelTracer(provider)
    finally:
        await asyncio.to_thread(provider.shutdown)


def _provider(exporter: OTLPSpanExporter, service: str) -> TracerProvider:
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _session(sign: Sign | None) -> requests.Session:
    """The connections of the exporter, each request signed."""
    session = requests.Session()
    if sign is not None:

        def signed(request: requests.PreparedRequest) -> requests.PreparedRequest:
            assert isinstance(request.body, bytes), "the exporter sends protobuf"  # noqa: S101
            request.headers.update(sign(str(request.url), request.body))
            return request

        session.auth = signed
    return session


def _read_headers(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if not all(name.strip() and sign for name, sign, _ in pairs):
        raise ConfigurationError(
            "OTEL_EXPORTER_OTLP_HEADERS is like name=value,name=value. Correct it and start again."
        )
    # Percent-encoded, as the specification has it.
    return {unquote(name).strip().lower(): unquote(value).strip() for name, _, value in pairs}
