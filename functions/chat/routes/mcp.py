"""`POST /mcp`: the documents for agents elsewhere, by the Model Context Protocol."""

from __future__ import annotations

import asyncio
import importlib

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from functions.chat.dependencies import Reader


def add_mcp_routes(app: FastAPI) -> None:
    """One route: there are no sessions, so nothing is to be read or ended by other methods."""

    @app.post("/mcp", include_in_schema=False)
    async def mcp(asker: Reader) -> Response:  # noqa: ARG001 - a reader asks
        """Model Context Protocol, streamable HTTP without sessions (docs/agents.md)."""
        return _McpResponse()


class _McpResponse(Response):
    """What the MCP server answers. It is loaded here, beside the loop, so that neither a cold start nor another's stream waits."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        server = await asyncio.to_thread(importlib.import_module, "functions.chat.mcp_server")
        await server.serve(scope, receive, send)
