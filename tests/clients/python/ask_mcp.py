"""The MCP SDK of the generation before (1.x): sessions and a handshake, against a server that keeps none."""

from __future__ import annotations

import json
import os

from cases import KEY, QUESTION, URL, run
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

ADDRESS = URL.removesuffix("/v1") + "/mcp"


async def _with_session(use):
    headers = {"Authorization": f"Bearer {KEY}"}
    async with (
        streamablehttp_client(ADDRESS, headers=headers) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        return await use(session)


async def listed():
    async def use(session):
        return ",".join(sorted(tool.name for tool in (await session.list_tools()).tools))

    return await _with_session(use)


async def asked():
    async def use(session):
        result = await session.call_tool("ask", {"question": QUESTION})
        return json.dumps([result.content[0].text, result.structuredContent["citations"][0]["name"]])

    return await _with_session(use)


async def searched():
    async def use(session):
        result = await session.call_tool("search_documents", {"query": QUESTION})
        return result.structuredContent["passages"][0]["text"]

    return await _with_session(use)


async def wrong():
    async def use(session):
        result = await session.call_tool("ask", {})
        assert result.isError
        return result.content[0].text

    return await _with_session(use)


assert os.environ.get("HEADRACE_URL")
run(listed=listed, asked=asked, searched=searched, wrong=wrong)
