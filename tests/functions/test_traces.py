"""Traces: each request is one, with a span for each part that took time, under the published names; and nobody's words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from botocore.credentials import Credentials
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.attributes import error_attributes
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace import wiring
from headrace.errors import ConfigurationError
from headrace.models.openai import open_openai_model
from headrace.observability.otel import OtelTracer, open_otel_tracer
from headrace.settings import Settings
from headrace.types import Block
from headrace.wiring.traces import xray_signer
from tests.support.http import served
from tests.support.library import Library
from tests.support.openai_server import Script
from tests.support.signatures import is_signed

FACT = "The spillway of the upper dam opens at 412 metres."
QUESTION = "At what level does the spillway open?"
KNOWN = {
    value
    for module in (gen_ai_attributes, error_attributes)
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, str)
}
OPERATIONS = {each.value for each in gen_ai_attributes.GenAiOperationNameValues}


class Collector:
    """What an OpenTelemetry collector would get: spans by name, with their attributes as JSON values."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.headers: dict[str, str] = {}
        self.content = b""

    def app(self) -> Starlette:
        async def traces(request: Request) -> Response:
            body = await request.body()
            self.headers, self.content = dict(request.headers), self.content + body
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    self.spans += scope.spans
            return Response(b"", media_type="application/x-protobuf")

        return Starlette(routes=[Route("/v1/traces", traces, methods=["POST"])])

    async def received(self, tracer: OtelTracer, requests: int = 1) -> None:
        """Wait until the spans of so many requests are here: one ends a moment after its answer."""
        for _ in range(100):
            await tracer.flush()
            if len([span for span in self.spans if span.name == "request"]) >= requests:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("the spans did not come")

    def named(self, name: str) -> Any:
        (found,) = [span for span in self.spans if span.name == name]
        return found


def attributes(span: Any) -> dict[str, Any]:
    def value(given: Any) -> Any:
        kind = given.WhichOneof("value")
        return [value(each) for each in given.array_value.values] if kind == "array_value" else getattr(given, kind)

    return {each.key: value(each.value) for each in span.attributes}


@pytest.fixture
async def collector(stack: AsyncExitStack) -> Collector:
    return Collector()


@pytest.fixture
async def tracer(collector: Collector, stack: AsyncExitStack) -> AsyncIterator[OtelTracer]:
    url = await stack.enter_async_context(served(collector.app()))
    async with open_otel_tracer(
        url, headers="x-team=dams, Authorization=Bearer%20t", service="headrace-test"
    ) as opened:
        yield opened


async def test_x_ray_gets_spans_that_the_function_s_keys_have_signed(
    collector: Collector, stack: AsyncExitStack
) -> None:
    keys: dict[str, Any] = {
        "aws_access_key_id": "AKID",
        "aws_secret_access_key": "secret",
        "aws_session_token": "token",
    }
    settings = Settings(otel_exporter_otlp_endpoint="https://xray.eu-central-1.amazonaws.com", **keys)
    sign = xray_signer(settings)
    assert sign is not None
    url = await stack.enter_async_context(served(collector.app()))
    async with open_otel_tracer(url, headers="", service="headrace-test", sign=sign) as tracer:
        tracer.begin("request", {}).end()
        await collector.received(tracer)
    assert collector.headers["x-amz-security-token"] == "token"
    assert is_signed(
        "POST", "/v1/traces", collector.headers, collector.content, credentials=Credentials("AKID", "secret"),
        scope=("eu-central-1", "xray"),
    )  # fmt: skip
    others = (
        "http://127.0.0.1:4318",
        "https://xray.eu-central-1.amazonaws.com.example.com",
        "https://x.example.com/xray.a.amazonaws.com",
    )
    assert all(xray_signer(Settings(otel_exporter_otlp_endpoint=other, **keys)) is None for other in others)


@pytest.fixture
async def url(
    chat_app: Callable[..., Any], library: Library, openai_url: str, tracer: OtelTracer, stack: AsyncExitStack
) -> str:
    model = await stack.enter_async_context(open_openai_model(api_key="k", base_url=openai_url, model="m"))
    await library.put("dam.txt", Block(FACT))
    return await stack.enter_async_context(served(chat_app(model, tracer=tracer)))


async def ask(url: str, path: str = "/chat", headers: dict[str, str] | None = None, **body: Any) -> str:
    """Ask; gives the response's `traceparent`."""
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}{path}", json={"question": QUESTION, **body}, headers=headers) as response:
            await response.read()
            return str(response.headers["traceparent"])


async def test_an_agent_s_answer_is_one_trace_of_all_its_parts(
    url: str, tracer: OtelTracer, collector: Collector, script: Script
) -> None:
    steps = iter([[("search_documents", json.dumps({"query": "spillway level"}))], "It opens at 412 metres [1]."])
    script.act = lambda _request: next(steps)
    given = await ask(url, mode="agent")
    await collector.received(tracer)
    by_name = {span.name: span for span in collector.spans}
    assert {
        "request",
        "embeddings all-MiniLM-L6-v2",
        "retrieval qdrant",
        "chat m",
        "execute_tool search_documents",
    } <= by_name.keys()
    root = collector.named("request")
    assert given.startswith(f"00-{root.trace_id.hex()}-{root.span_id.hex()}-")
    assert {span.trace_id for span in collector.spans} == {root.trace_id}
    parents = {span.span_id: span for span in collector.spans}
    assert all(span.parent_span_id in parents for span in collector.spans if span is not root)
    tool = by_name["execute_tool search_documents"]
    below_tool = {span.name for span in collector.spans if span.parent_span_id == tool.span_id}
    assert "retrieval qdrant" in below_tool
    assert all(span.start_time_unix_nano >= root.start_time_unix_nano for span in collector.spans)
    assert all(span.end_time_unix_nano <= root.end_time_unix_nano for span in collector.spans)

    told = attributes(root)
    assert (told["gen_ai.operation.name"], told["gen_ai.agent.name"]) == ("invoke_agent", "headrace-agent")
    chat = attributes(by_name["chat m"])
    assert chat["gen_ai.operation.name"] == "chat"
    assert chat["gen_ai.provider.name"] == "openai"
    assert chat["gen_ai.request.model"] == chat["gen_ai.response.model"] == "m"
    assert chat["gen_ai.usage.input_tokens"] > 0
    assert chat["gen_ai.response.finish_reasons"] == ["stop"]
    assert chat["gen_ai.response.time_to_first_chunk"] > 0
    assert attributes(by_name["embeddings all-MiniLM-L6-v2"])["gen_ai.embeddings.dimension.count"] == 384


async def test_every_name_is_published_or_ours(
    url: str, tracer: OtelTracer, collector: Collector, script: Script
) -> None:
    steps = iter([[("search_documents", '{"query": "spillway"}')], "It opens at 412 metres [1]."])
    script.act = lambda _request: next(steps)
    await ask(url, mode="agent")
    await collector.received(tracer)
    for span in collector.spans:
        told = attributes(span)
        strange = {name for name in told if name not in KNOWN and not name.startswith("headrace.")}
        assert strange == set(), span.name
        assert told.get("gen_ai.operation.name", "chat") in OPERATIONS
    # Nor is anybody's word in them.
    assert b"spillway" not in collector.content
    # With its unit: an id, and a time, may have these three digits in it.
    assert b"412 metres" not in collector.content
    assert b"metres" not in collector.content


async def test_a_fault_is_told_by_its_name(url: str, tracer: OtelTracer, collector: Collector, script: Script) -> None:
    script.refusal, script.refusal_status = "no such key", 401
    await ask(url)
    await collector.received(tracer)
    for name in ("request", "chat m"):
        assert attributes(collector.named(name))["error.type"] == "configuration_error", name
        assert collector.named(name).status.code == 2
    assert b"no such key" not in collector.content


async def test_it_goes_on_a_trace_that_comes_from_elsewhere_and_keys_go_along(
    url: str, tracer: OtelTracer, collector: Collector
) -> None:
    above = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    given = await ask(url, headers={"traceparent": above})
    assert given.startswith("00-0af7651916cd43dd8448eb211c80319c-")
    await ask(url, headers={"traceparent": "nonsense"})
    await collector.received(tracer, 2)
    first = next(span for span in collector.spans if span.name == "request" and span.parent_span_id)
    assert first.parent_span_id.hex() == "b7ad6b7169203331"
    assert collector.headers["x-team"] == "dams"
    assert collector.headers["authorization"] == "Bearer t"


async def test_questions_at_one_time_are_traces_apart(url: str, tracer: OtelTracer, collector: Collector) -> None:
    await asyncio.gather(*(ask(url, question=f"{QUESTION} ({n})") for n in range(8)))
    await collector.received(tracer, 8)
    roots = [span for span in collector.spans if span.name == "request"]
    assert len({span.trace_id for span in roots}) == 8
    searches = [span for span in collector.spans if span.name == "retrieval qdrant"]
    assert {span.trace_id for span in searches} == {span.trace_id for span in roots}


async def test_a_collector_that_is_away_holds_up_no_answer(
    chat_app: Callable[..., Any], library: Library, stack: AsyncExitStack
) -> None:
    await library.put("dam.txt", Block(FACT))
    tracer = await stack.enter_async_context(open_otel_tracer("http://127.0.0.1:9", headers="", service="t"))
    url = await stack.enter_async_context(served(chat_app(tracer=tracer)))
    began = asyncio.get_running_loop().time()
    assert await ask(url)
    assert asyncio.get_running_loop().time() - began < 5


async def test_settings_say_where_traces_go() -> None:
    async with wiring.open_tracer(Settings()) as none:
        assert none is None
    wrong = Settings(otel_exporter_otlp_endpoint="http://127.0.0.1:9", otel_exporter_otlp_headers="nonsense")
    with pytest.raises(ConfigurationError, match="name=value"):
        async with wiring.open_tracer(wrong):
            pass
