"""An ASGI application behind a real HTTP server in the test's own event loop, and a reader of its SSE streams."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import uvicorn

# What is under way when a server ends has so long to end by itself.
SHUTDOWN_SECONDS = 2.0


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """Serve the application, lifespan included; gives its URL."""
    # asyncio turns Nagle's algorithm off (40 ms an answer) only where the socket names its protocol.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = _PromptServer(uvicorn.Config(app, log_level="warning", lifespan="on", ws="websockets-sansio"))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not task.done():
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.ending.set()
        await task
        listener.close()


class _PromptServer(uvicorn.Server):
    """uvicorn's server without its pauses: two of 0.1 s at each end, where tests serve some thousand times."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ending = asyncio.Event()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.ending.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listening in self.servers:
            listening.close()
        for each in sockets or ():
            each.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(SHUTDOWN_SECONDS):
                while self.server_state.connections or self.server_state.tasks:
                    await asyncio.sleep(0.005)
        for task in self.server_state.tasks:
            task.cancel()
        await self.lifespan.shutdown()


@dataclass(frozen=True)
class SseEvent:
    """One Server-Sent Event as a client sees it."""

    name: str
    data: Any
    raw: str
    id: str = ""


async def sse_events(response: aiohttp.ClientResponse) -> AsyncIterator[SseEvent]:
    """The response's events as they arrive; comments are passed over. A truncated last event is an error."""
    buffer = b""
    async for piece in response.content.iter_any():
        buffer += piece
        while b"\n\n" in buffer:
            block, _, buffer = buffer.partition(b"\n\n")
            event = _parse(block.decode())
            if event is not None:
                yield event
    assert not buffer, f"the stream ends inside an event: {buffer!r}"


def _parse(block: str) -> SseEvent | None:
    fields: dict[str, list[str]] = {}
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        fields.setdefault(name, []).append(value.removeprefix(" "))
    if "data" not in fields:
        return None
    raw = "\n".join(fields["data"])
    return SseEvent(
        fields.get("event", ["message"])[0],
        None if raw == "[DONE]" else json.loads(raw),
        raw,
        fields.get("id", [""])[0],
    )
