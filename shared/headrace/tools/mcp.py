"""The tools of an MCP server, over streamable HTTP, of either generation of the protocol. Needs `mcp`.

Reference: https://modelcontextprotocol.io/specification
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from headrace.constrained.checking import check_constraint
from headrace.errors import InvalidInputError, ToolError, UnavailableError
from headrace.protocols import Tool
from headrace.types import Principal, ToolResult, ToolSpec

if TYPE_CHECKING:
    from mcp import Client

TIMEOUT_SECONDS = 30.0
LISTING_SECONDS = 5.0
# The list of a server's tools is asked for again after so long; after a failure, sooner.
LISTED_SECONDS = 300.0
FAILED_SECONDS = 60.0
MOST_TOOLS = 200
MOST_DESCRIPTION_CHARACTERS = 4_000
MOST_CHARACTERS = 1_000_000

logger = logging.getLogger(__name__)


class McpServer:
    """A ToolSource: a server's tools, each named `<name>_<tool>`. It is connected to for each call, and keeps no session.

    Whatever its tools write has to be allowed, but for those that `reads` names: a server's own word for it, the hint
    `readOnlyHint`, is no more than a hint.
    """

    is_of_documents = False

    def __init__(
        self,
        *,
        name: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        tools: Collection[str] = (),
        reads: Collection[str] = (),
        timeout_seconds: float = TIMEOUT_SECONDS,
        allow_private: bool = False,
    ) -> None:
        self._name = name
        self._url = url
        self._headers = headers or {}
        self._only = tools
        self._reads = reads
        self._timeout_seconds = timeout_seconds
        self._allow_private = allow_private
        self._listed: Sequence[Tool] = ()
        self._until = 0.0
        self._listing = asyncio.Lock()

    async def tools(self, filter_: Mapping[str, Any]) -> Sequence[Tool]:  # noqa: ARG002 - they have no documents
        async with self._listing:
            if time.monotonic() >= self._until:
                try:
                    async with asyncio.timeout(LISTING_SECONDS):
                        self._listed = await self._list()
                    self._until = time.monotonic() + LISTED_SECONDS
                except Exception as error:  # noqa: BLE001 - a client's faults are of many kinds; none may end an answer
                    logger.warning("The MCP server %s does not list its tools: %r", self._name, error)
                    self._until = time.monotonic() + FAILED_SECONDS
        return self._listed

    async def _list(self) -> list[Tool]:
        found: list[Tool] = []
        async with self.connected() as client:
            cursor = None
            while True:
                page = await client.list_tools(cursor=cursor)
                wanted = [each for each in page.tools if not self._only or each.name in self._only]
                found += [tool for tool in map(self._tool, wanted) if self._is_usable(tool.spec)]
                cursor = page.next_cursor
                if not cursor or len(found) >= MOST_TOOLS:
                    return found[:MOST_TOOLS]

    def _is_usable(self, spec: ToolSpec) -> bool:
        try:
            check_constraint(spec.arguments)
        except InvalidInputError as error:
            logger.warning("The tool %s of the MCP server %s can't be called: %s", spec.name, self._name, error)
            return False
        return True

    def _tool(self, listed: Any) -> Tool:
        name = re.sub(r"[^A-Za-z0-9_-]", "_", f"{self._name}_{listed.name}")[:64]
        spec = ToolSpec(name, (listed.description or "")[:MOST_DESCRIPTION_CHARACTERS], listed.input_schema)
        writes = listed.name not in self._reads
        return _McpTool(self, listed.name, spec, writes=writes, timeout_seconds=self._timeout_seconds)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Client]:
        """A client, connected. Raises what the client raises."""
        # It takes a second to load, which the loop has not.
        await asyncio.to_thread(importlib.import_module, "mcp.client.streamable_http")
        import httpx2
        from mcp import Client
        from mcp.client.streamable_http import streamable_http_client

        from headrace.clients.outbound import check_url, public_hosts

        host = httpx2.URL(self._url).host
        check_url(self._url, {host}, allow_private=self._allow_private)
        if not self._allow_private:
            await public_hosts(host)
        async with (
            httpx2.AsyncClient(headers=dict(self._headers), timeout=self._timeout_seconds) as http,
            Client(streamable_http_client(self._url, http_client=http)) as client,
        ):
            yield client


class _McpTool:
    """One tool of a server."""

    is_of_documents = False

    def __init__(self, server: McpServer, name: str, spec: ToolSpec, *, writes: bool, timeout_seconds: float) -> None:
        self._server = server
        self._name = name
        self.spec = spec
        self.writes = writes
        self.timeout_seconds = timeout_seconds

    async def call(self, arguments: Mapping[str, Any], principal: Principal) -> ToolResult:  # noqa: ARG002 - the server knows its own askers
        from mcp import MCPError

        try:
            async with self._server.connected() as client:
                result = await client.call_tool(self._name, dict(arguments))
        except MCPError as error:
            # The server has answered, and says no: what it says is not ours.
            logger.warning("The MCP tool %s answers with an error: %s", self.spec.name, error)
            raise ToolError("The tool's server answered with an error.") from error
        except OSError as error:
            raise UnavailableError(f"The MCP server of {self.spec.name} does not answer.") from error
        texts = [each.text for each in result.content if each.type == "text"]
        others = len(result.content) - len(texts)
        if result.structured_content is not None and not texts:
            texts.append(json.dumps(result.structured_content, ensure_ascii=False))
        if others:
            texts.append(f"({others} parts that are no text are left out.)")
        head = "The tool says that it failed:\n" if result.is_error else ""
        return ToolResult((head + "\n".join(texts))[:MOST_CHARACTERS])
