"""Tools that are somebody else's: HTTP operations, MCP servers, LangChain's; each a real server or library, driven for real."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import BaseTool, StructuredTool, ToolException, tool
from mcp.server import MCPServer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from headrace.clients import outbound
from headrace.clients.outbound import Outbound, check_url, is_public, open_outbound
from headrace.errors import ConfigurationError, ToolError
from headrace.protocols import Tool
from headrace.settings import Settings
from headrace.tools.declared import open_declared_tools, read_declarations
from headrace.tools.langchain import LangChainTool
from headrace.tools.mcp import McpServer
from headrace.tools.openapi import operations_of
from headrace.tools.sources import FixedTools
from headrace.types import Principal
from headrace.wiring import open_tool_sources
from tests.support.http import served

ASKER = Principal("acme")
API = {
    "openapi": "3.1.0",
    "paths": {
        "/orders/{id}": {
            "parameters": [{"$ref": "#/components/parameters/id"}],
            "get": {"operationId": "getOrder", "summary": "One order.", "parameters": [{"name": "fields", "in": "query", "schema": {"type": "string"}}]},
            "put": {
                "operationId": "putOrder",
                "requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}}},
            },
        },
        "/search": {"post": {"operationId": "search", "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}}}},
    },
    "components": {
        "parameters": {"id": {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}},
        "schemas": {
            "Order": {
                "type": "object",
                "properties": {"note": {"type": "string", "nullable": True}, "parent": {"$ref": "#/components/schemas/Order"}},
                "required": ["note"],
            }
        },
    },
}  # fmt: skip


@pytest.fixture
def seen() -> list[Any]:
    return []


@pytest.fixture
async def service(seen: list[Any]) -> AsyncIterator[str]:
    async def orders(request: Request) -> Response:
        body = await request.body()
        seen.append(
            (
                request.method,
                request.url.path,
                request.scope["raw_path"],
                dict(request.query_params),
                request.headers.get("authorization"),
                body,
            )
        )
        match request.path_params["id"]:
            case "gone":
                return RedirectResponse("http://127.0.0.1:1/", 302)
            case "500":
                return PlainTextResponse("Traceback: secret", 500)
            case "403":
                return PlainTextResponse("who?", 403)
            case "404":
                return JSONResponse({"error": "There is no such order."}, 404)
            case "huge":
                return PlainTextResponse("x" * 3_000_000)
        return JSONResponse({"id": request.path_params["id"], "state": "shipped"})

    app = Starlette(routes=[Route("/orders/{id:path}", orders, methods=["GET", "PUT"])])
    async with served(app) as url:
        yield url


@pytest.fixture
async def opened(stack: AsyncExitStack) -> Outbound:
    return await stack.enter_async_context(open_outbound(allow_private=True))


async def tools_of(
    stack: AsyncExitStack, declared: dict[str, Any], secrets: str = "", *, allow_private: bool = True
) -> dict[str, Tool]:
    read = await asyncio.to_thread(read_declarations, json.dumps(declared), secrets)
    sources = await stack.enter_async_context(open_declared_tools(read, allow_private=allow_private))
    return {tool.spec.name: tool for source in sources for tool in await source.tools({})}


async def test_a_declared_operation_is_called_with_its_secret(
    service: str, seen: list[Any], stack: AsyncExitStack
) -> None:
    declared = {
        "http": [
            {
                "name": "get_order", "description": "One order.", "url": f"{service}/orders/{{id}}",
                "parameters": {"type": "object", "properties": {"id": {"type": "string"}, "lang": {"type": "string"}}, "required": ["id"]},
                "headers": {"Authorization": "Bearer ${CRM}"},
            },
            {"name": "put_order", "description": "x", "method": "put", "url": f"{service}/orders/{{id}}"},
        ]
    }  # fmt: skip
    tools = await tools_of(stack, declared, '{"CRM": "s3cret"}')
    found = await tools["get_order"].call({"id": "a/../b?x=1#y", "lang": "de"}, ASKER)
    assert json.loads(found.text)["state"] == "shipped"
    method, _, raw, query, authorization, _ = seen[-1]
    assert (method, query, authorization) == ("GET", {"lang": "de"}, "Bearer s3cret")
    assert raw == b"/orders/a%2F..%2Fb%3Fx=1%23y", "an argument stays one segment"
    assert (tools["get_order"].writes, tools["put_order"].writes) == (False, True)
    await tools["put_order"].call({"id": "7", "note": "x", "items": [1]}, ASKER)
    assert json.loads(seen[-1][-1]) == {"note": "x", "items": [1]}
    for wrong in ("..", ".", ""):
        with pytest.raises(ToolError):
            await tools["get_order"].call({"id": wrong}, ASKER)


@pytest.mark.parametrize(
    ("order", "told"),
    [("gone", "not followed"), ("500", "status 500"), ("403", "does not let this application in")],
)
async def test_what_a_service_answers_badly_is_said_without_its_words(
    service: str, stack: AsyncExitStack, order: str, told: str
) -> None:
    tools = await tools_of(stack, {"http": [{"name": "o", "description": "x", "url": f"{service}/orders/{{id}}"}]})
    with pytest.raises(ToolError, match=told) as fault:
        await tools["o"].call({"id": order}, ASKER)
    assert "secret" not in str(fault.value)


async def test_what_a_service_refuses_is_for_the_model_and_a_long_reply_is_cut(
    service: str, stack: AsyncExitStack
) -> None:
    tools = await tools_of(stack, {"http": [{"name": "o", "description": "x", "url": f"{service}/orders/{{id}}"}]})
    assert (await tools["o"].call({"id": "404"}, ASKER)).text == 'Status 404.\n{"error":"There is no such order."}'
    long = (await tools["o"].call({"id": "huge"}, ASKER)).text
    assert outbound.MOST_BYTES < len(long) < outbound.MOST_BYTES + 100
    assert long.endswith("(The reply was longer.)")


async def test_an_openapi_description_becomes_tools(
    service: str, seen: list[Any], stack: AsyncExitStack, tmp_path: Path
) -> None:
    path = tmp_path / "api.json"
    path.write_text(json.dumps(API))
    entry = {
        "description": str(path),
        "base_url": service,
        "reads": ["search"],
        "headers": {"Authorization": "Bearer ${K}"},
    }
    tools = await tools_of(stack, {"openapi": [entry]}, '{"K": "k"}')
    assert {name: tool.writes for name, tool in tools.items()} == {"getOrder": False, "putOrder": True, "search": False}
    order = tools["putOrder"].spec.parameters
    assert order["required"] == ["id", "body"]
    assert order["properties"]["body"]["properties"]["note"] == {"type": ["string", "null"]}
    await tools["getOrder"].call({"id": "7", "fields": "state"}, ASKER)
    assert seen[-1][3:5] == ({"fields": "state"}, "Bearer k")
    await tools["putOrder"].call({"id": "7", "body": {"note": None}}, ASKER)
    assert json.loads(seen[-1][-1]) == {"note": None}


@pytest.mark.parametrize(
    "declared",
    [
        "{", "[]", '{"ftp": []}', '{"http": {}}', '{"http": [{"name": "x"}]}', '{"python": ["x"]}', '{"python": ["no_such:X"]}',
        '{"http": [{"name": "a b", "description": "x", "url": "https://x.example/"}]}',
        '{"http": [{"name": "a", "description": "x", "url": "https://{host}/"}]}',
        '{"http": [{"name": "a", "description": "x", "url": "https://x.example/", "headers": {"A": "${NONE}"}}]}',
        '{"http": [{"name": "a", "description": "x", "url": "https://x.example/", "colour": 1}]}',
        '{"openapi": [{"description": {"paths": {}}}]}', '{"openapi": [{"description": "nowhere.json"}]}',
        '{"openapi": [{"description": {"paths": {}}, "base_url": "https://x.example", "operations": ["a"]}]}',
        '{"mcp": [{"name": "x"}]}', "/no/such/file.json",
    ],
)  # fmt: skip
async def test_a_declaration_that_can_not_be_used_says_why(declared: str) -> None:
    settings = Settings(agent_tools=declared)
    with pytest.raises(ConfigurationError, match="AGENT_TOOLS"):
        async with open_tool_sources(settings, FixedTools([])):
            pass


def test_a_description_that_refers_to_itself_ends() -> None:
    (_, put, _) = operations_of(API, base_url="https://x.example/v1", headers={})
    assert put.url == "https://x.example/v1/orders/{id}"
    assert len(json.dumps(put.spec.parameters)) < 20_000


@pytest.mark.parametrize(
    ("address", "is_open"),
    [
        ("8.8.8.8", True), ("2606:4700::1111", True), ("127.0.0.1", False), ("10.1.2.3", False), ("169.254.169.254", False),
        ("::1", False), ("::ffff:127.0.0.1", False), ("::ffff:169.254.169.254", False), ("fd00::1", False), ("fe80::1%eth0", False),
        ("0.0.0.1", False), ("100.64.0.1", False), ("224.0.0.1", False), ("2002:7f00:1::", False), ("64:ff9b::7f00:1", False), ("::127.0.0.1", False),
    ],
)  # fmt: skip
def test_private_addresses_are_known_in_every_form(address: str, is_open: bool) -> None:
    assert is_public(address) is is_open


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/",
        "https://api.example@other.example/",
        "http://api.example/",
        "ftp://api.example/",
        "https://u@api.example/",
        "https://127.0.0.1/",
    ],
)
def test_only_the_declared_host_is_asked_over_https(url: str) -> None:
    with pytest.raises(ToolError):
        check_url(url, {"api.example", "127.0.0.1"}, allow_private=False)
    check_url("https://API.example/", {"api.example"}, allow_private=False)


async def test_a_name_that_leads_inside_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server says what it likes: what counts is the address that is connected to."""
    async with open_outbound(allow_private=False) as opened:
        # "localhost" is a public-looking name with a private address.
        with pytest.raises(ToolError, match="does not answer"):
            await opened.request("GET", "https://localhost/", hosts={"localhost"}, headers={})
    with pytest.raises(ToolError, match="public"):
        await outbound.public_hosts("localhost")


# --- MCP servers --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def mcp_url() -> AsyncIterator[str]:
    server = MCPServer("weather")

    @server.tool()
    def forecast(city: str) -> str:
        """The forecast for a city."""
        return f"sunny in {city}"

    @server.tool()
    def book(city: str) -> dict[str, str]:
        """Book a trip."""
        return {"booked": city}

    @server.tool()
    def breaks() -> str:
        """Fails."""
        raise RuntimeError("postgres://secret")

    async with served(server.streamable_http_app()) as url:
        yield f"{url}/mcp"


async def test_the_tools_of_an_mcp_server_are_called(mcp_url: str, stack: AsyncExitStack) -> None:
    declared = {"mcp": [{"name": "trips", "url": mcp_url, "reads": ["forecast"]}]}
    tools = await tools_of(stack, declared)
    assert {name: tool.writes for name, tool in tools.items()} == {
        "trips_forecast": False,
        "trips_book": True,
        "trips_breaks": True,
    }
    assert tools["trips_forecast"].spec.parameters["required"] == ["city"]
    assert (await tools["trips_forecast"].call({"city": "Bern"}, ASKER)).text == "sunny in Bern"
    assert json.loads((await tools["trips_book"].call({"city": "Bern"}, ASKER)).text) == {"booked": "Bern"}
    failed = (await tools["trips_breaks"].call({}, ASKER)).text
    assert failed.startswith("The tool says that it failed:")
    several = await asyncio.gather(*(tools["trips_forecast"].call({"city": str(n)}, ASKER) for n in range(10)))
    assert [each.text for each in several] == [f"sunny in {n}" for n in range(10)]


async def test_an_mcp_server_that_is_away_has_no_tools_and_comes_back(
    mcp_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    away = McpServer(name="x", url="http://127.0.0.1:9/mcp", allow_private=True)
    started = time.monotonic()
    assert await away.tools({}) == ()
    assert await away.tools({}) == ()
    assert time.monotonic() - started < 8
    assert sum("does not list its tools" in record.message for record in caplog.records) == 1
    private = McpServer(name="x", url=mcp_url, allow_private=False)
    assert await private.tools({}) == ()


# --- LangChain's tools --------------------------------------------------------------------------------------------------


async def test_forty_langchain_tools_wait_together_when_they_are_asynchronous() -> None:
    waiting = 0
    everybody = asyncio.Event()

    async def sleep(n: int) -> str:
        nonlocal waiting
        waiting += 1
        if waiting == 40:
            everybody.set()
        # Who waits in a queue for a thread would never see all of them here.
        await everybody.wait()
        return f"{n} in {threading.current_thread().name}"

    slow = LangChainTool(StructuredTool.from_function(coroutine=sleep, name="sleep", description="Sleeps."))
    async with asyncio.timeout(10):
        found = await asyncio.gather(*(slow.call({"n": n}, ASKER) for n in range(40)))
    assert {each.text.split(" in ")[1] for each in found} == {"MainThread"}


async def test_a_synchronous_one_runs_in_few_threads_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    @tool
    def sleep(n: int) -> str:
        """Sleeps."""
        time.sleep(0.02)
        return threading.current_thread().name

    with caplog.at_level(logging.WARNING):
        slow = LangChainTool(sleep)
    assert "is synchronous" in caplog.text
    found = await asyncio.gather(*(slow.call({"n": n}, ASKER) for n in range(40)))
    names = {each.text for each in found}
    assert 1 < len(names) <= 16
    assert all(name.startswith("langchain-tool") for name in names)


async def test_a_class_of_its_own_is_known_by_its_arun() -> None:
    class Own(BaseTool):
        name: str = "own"
        description: str = "x"

        def _run(self, a: int) -> Any:
            raise NotImplementedError

        async def _arun(self, a: int) -> Any:
            if a < 0:
                raise ToolException("a is negative")
            return {"a": a}

    own = LangChainTool(Own(metadata={"writes": True, "timeout_seconds": 3}))
    assert (own.writes, own.timeout_seconds) == (True, 3.0)
    assert (await own.call({"a": 1}, ASKER)).text == '{"a": 1}'
    with pytest.raises(ToolError, match="a is negative"):
        await own.call({"a": -1}, ASKER)
    with pytest.raises(ConfigurationError, match="no tool"):
        LangChainTool("own")  # type: ignore[arg-type]


TOOLS = [StructuredTool.from_function(coroutine=lambda: asyncio.sleep(0, "x"), name="declared", description="x")]


async def test_python_tools_are_declared_by_name(stack: AsyncExitStack) -> None:
    tools = await tools_of(stack, {"python": [f"{__name__}:TOOLS"]})
    assert (await tools["declared"].call({}, ASKER)).text == "x"
