"""Faults on the way to a server: over HTTP as an ASGI wrapper, over TCP as a proxy. What is to go wrong is set on a plan."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

STATUSES = {"rate_limited": 429, "overloaded": 503, "broken": 500}
# `cut_before` loses the request, `cut_after` the answer to a request that was carried out.
CUTS = ("cut_before", "cut_after")
EVERYTHING = (*STATUSES, *CUTS, "garbage", "slow")
SLOW_SECONDS = 0.02


@dataclass
class Faults:
    """What goes wrong: first each of `next`, then, at `rate`, one of `kinds`; never more than `in_a_row`."""

    next: list[str] = field(default_factory=list)
    rate: float = 0.0
    kinds: tuple[str, ...] = EVERYTHING
    in_a_row: int = 2
    retry_after: str = "0.01"
    generator: random.Random = field(default_factory=lambda: random.Random(7))
    seen: int = 0
    _row: int = 0

    def draw(self) -> str | None:
        """The fault of this call, if any."""
        if self.next:
            kind: str | None = self.next.pop(0)
        else:
            hit = self._row < self.in_a_row and self.generator.random() < self.rate
            kind = self.generator.choice(self.kinds) if hit else None
        self._row = self._row + 1 if kind else 0
        self.seen += kind is not None
        return kind


def faulty(app: Any, faults: Faults) -> Any:
    """The application, with faults."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        kind = faults.draw() if scope["type"] == "http" else None
        match kind:
            case None:
                await app(scope, receive, send)
            case "slow":
                await asyncio.sleep(SLOW_SECONDS)
                await app(scope, receive, send)
            case "garbage":
                await _answer(send, 200, b'{"result": [tru')
            case "cut_before":
                await _cut(send)
            case "cut_after":
                await app(scope, receive, _nowhere)
                await _cut(send)
            case _:
                await _answer(send, STATUSES[kind], b'{"status": {"error": "told to fail"}}', faults.retry_after)

    return wrapped


async def _nowhere(_message: Any) -> None:
    """A client that is gone."""


async def _answer(send: Any, status: int, body: bytes, retry_after: str = "") -> None:
    headers = [(b"content-type", b"application/json")]
    headers += [(b"retry-after", retry_after.encode())] if retry_after else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _cut(send: Any) -> None:
    """Promise more than is sent, so that the server has to close the connection."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"9999")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"result"'})


@asynccontextmanager
async def cutting_proxy(port: int, faults: Faults) -> AsyncIterator[int]:
    """A TCP proxy to a local port that cuts connections or holds them up, a draw for each piece; gives its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
        ways = [(reader, upstream_writer, "cut_before"), (upstream_reader, writer, "cut_after")]
        pumps = [asyncio.create_task(_pump(*way, faults)) for way in ways]
        tasks.update(pumps)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        tasks.difference_update(pumps)
        for end in (writer, upstream_writer):
            end.close()
            with suppress(OSError):
                await end.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0.01)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: str, faults: Faults) -> None:
    while piece := await reader.read(65_536):
        kind = faults.draw()
        if kind == cut:
            return
        if kind == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        writer.write(piece)
        await writer.drain()


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """The URL of a server that takes every command and answers none."""
    writers: list[asyncio.StreamWriter] = []

    def listen(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    listener = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with listener:
        yield f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}/0"
        for writer in writers:
            writer.close()
