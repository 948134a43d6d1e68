"""The MCP server at `/mcp`, driven by the official client of the current generation and of the one before."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from headrace.auth.api_keys import ApiKeyAuthenticator, new_key
from headrace.models.openai import OpenAIModel, open_openai_model
from headrace.redis_state.api_keys import RedisApiKeys
from headrace.types import Principal
from tests.support.http import served
from tests.support.library import Library
from tests.support.openai_server import Script

LEAVE = "Parents may take 26 weeks of parental leave. It is paid for the first 14 weeks."
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


@pytest.fixture
async def model(openai_url: str, stack: AsyncExitStack) -> OpenAIModel:
    return await stack.enter_async_context(open_openai_model(api_key="k", base_url=openai_url, model="test-model"))


@pytest.fixture
async def url(chat_app: Callable[..., Any], library: Library, model: OpenAIModel) -> AsyncIterator[str]:
    await library.put("leave.md", LEAVE)
    await library.put("board.md", "The board meets on 12 May.", groups=("board",))
    async with served(chat_app(model)) as opened:
        yield opened


@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
async def test_search_ask_list_and_read_by_the_official_client(url: str, script: Script, mode: str) -> None:
    script.reply = lambda _: "It is 26 weeks [1]."
    client: Any
    async with Client(f"{url}/mcp", mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert {"ask", "search_documents", "read_document", "list_documents", "look_up_rows"} <= tools.keys()
        said = await client.call_tool("ask", {"question": "How long is parental leave?"})
        assert said.content[0].text == "It is 26 weeks [1]."
        (citation,) = said.structured_content["citations"]
        assert citation["name"] == "leave.md"
        assert citation["quote"].startswith("Parents may take 26 weeks")
        found = await client.call_tool("search_documents", {"query": "How long is parental leave?"})
        assert found.structured_content["passages"][0]["text"] == LEAVE
        listed = (await client.call_tool("list_documents", {})).content[0].text
        assert "leave.md" in listed
        assert "board.md" not in listed
        read = await client.call_tool("read_document", {"document": "leave"})
        assert read.structured_content["passages"][0]["name"] == "leave.md"
        for name, arguments, told in (
            ("ask", {"question": ""}, "arguments are wrong"), ("ask", {}, "arguments are wrong"), ("nothing", {}, "no tool"),
            ("ask", {"question": "x", "model": "gpt-9"}, "gpt-9"), ("read_document", {"document": "board.md"}, "no such document"),
            ("search_documents", {"query": "x", "principal": {"tenant": "other"}}, "arguments are wrong"),
            ("ask", {"question": "x", "filter": {"colour": 1}}, "filter"),
        ):  # fmt: skip
            wrong = await client.call_tool(name, arguments)
            assert wrong.is_error, (name, arguments)
            assert told in wrong.content[0].text.lower() or told in wrong.content[0].text


async def test_it_is_the_asker_s_own_documents(
    chat_app: Callable[..., Any], library: Library, model: OpenAIModel, redis: Any, stack: AsyncExitStack
) -> None:
    await library.put("board.md", "The board meets on 12 May.", groups=("board",))
    keys, known = {}, RedisApiKeys(redis)
    for name, groups in (("board", frozenset({"board"})), ("staff", frozenset[str]())):
        keys[name], record = new_key(Principal(library.tenant, groups))
        await known.save(record)
    authenticator = ApiKeyAuthenticator(known)
    url = await stack.enter_async_context(served(chat_app(model, authenticator=authenticator)))

    async def found(key: str) -> list[Any]:
        client: Any
        async with (
            httpx2.AsyncClient(headers={"authorization": f"Bearer {key}"}) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
        ):
            said = await client.call_tool("search_documents", {"query": "When does the board meet?"})
            return list(said.structured_content["passages"])

    assert [each["name"] for each in await found(keys["board"])] == ["board.md"]
    assert await found(keys["staff"]) == []
    async with aiohttp.ClientSession(url) as session, session.post("/mcp", json={}, headers=HEADERS) as response:
        assert response.status == 401


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"jsonrpc": "2.0"}', b'{"jsonrpc":"2.0","id":1,"method":"no/such"}']
)
async def test_what_is_no_request_is_a_clear_fault(url: str, body: bytes) -> None:
    async with aiohttp.ClientSession(url) as session:
        async with session.post("/mcp", data=body, headers=HEADERS) as response:
            text = await response.text()
            assert response.status in {200, 400, 404}
            assert "error" in json.loads(text)
            assert "Traceback" not in text
        for method in ("GET", "DELETE"):
            async with session.request(method, "/mcp", headers=HEADERS) as response:
                assert response.status == 405, "there are no sessions to listen to or to end"


async def test_a_question_by_mcp_is_counted_like_any_other(
    chat_app: Callable[..., Any], library: Library, model: OpenAIModel, script: Script
) -> None:
    reported: list[Any] = []
    script.reply = lambda _: "It is 26 weeks [1]."
    await library.put("leave.md", LEAVE)
    app = chat_app(model, report=reported.append, principal=Principal(library.tenant))
    # It is counted as its place is given back, which the end of the server waits for.
    async with served(app) as url, Client(f"{url}/mcp") as client:
        await client.call_tool("ask", {"question": "How long is parental leave?"})
    assert [metrics.tokens > 0 for metrics in reported] == [True]


async def test_a_client_that_leaves_ends_the_model_s_work(url: str, script: Script) -> None:
    script.first_token_seconds = 30.0
    body = {
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "ask", "arguments": {"question": "How long is parental leave?"}},
    }  # fmt: skip
    async with aiohttp.ClientSession(url) as session:
        asked = asyncio.create_task(session.post("/mcp", json=body, headers=HEADERS).__aenter__())
        for _ in range(300):
            if script.open_streams:
                break
            await asyncio.sleep(0.02)
        assert script.open_streams == 1
        asked.cancel()
        await asyncio.wait({asked})
    for _ in range(100):
        if not script.open_streams:
            break
        await asyncio.sleep(0.02)
    assert script.open_streams == 0
