"""A server on the MCP SDK of the generation before (1.x), with sessions; it prints its port."""

from __future__ import annotations

import socket

from mcp.server.fastmcp import FastMCP

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
server = FastMCP("weather", port=port)


@server.tool()
def forecast(city: str) -> str:
    """The forecast for a city."""
    return f"sunny in {city}"


print(port, flush=True)
server.run(transport="streamable-http")
