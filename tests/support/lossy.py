"""A connection that may break between a command and its reply, as connections do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(slots=True)
class Loss:
    """Whether the next reply gets lost, and with it the connection; and how many have."""

    is_next: bool = False
    losses: int = 0


@asynccontextmanager
async def lossy(url: str) -> AsyncIterator[tuple[str, Loss]]:
    """A way to the server at `url` that loses replies when told to: its URL, and what tells it."""
    server, loss = urlsplit(url), Loss()
    connections: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, loses: bool) -> None:
        try:
            while data := await reader.read(65_536):
                if loses and loss.is_next:
                    loss.is_next, loss.losses = False, loss.losses + 1
                    return
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(server.hostname, server.port)
        ways = (carry(reader, far_writer, loses=False), carry(far_reader, writer, loses=True))
        connections.update(asyncio.create_task(way) for way in ways)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}{server.path}", loss
        for connection in connections:
            connection.cancel()


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """The URL of a server that takes every command and answers none."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with listener:
        yield f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}/0"
