"""Askers who come whether or not earlier ones have their answers: when their first token came, and what failed.

A client by hand, on bare sockets: what is measured shares its cores with it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import psutil

TIMEOUT_SECONDS = 60.0


@dataclass(slots=True)
class Tally:
    """Seconds to the first token and to the end of each answer that came whole, and how many did not."""

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Door:
    """Where and how a server is asked. Its answer's first token has `first` in it, its end `last`."""

    path: str
    body: Callable[[str], dict[str, object]]
    first: bytes
    last: bytes
    accept: str = "text/event-stream"


V1 = Door(
    "/v1/chat/completions",
    lambda question: {"model": "headrace", "stream": True, "messages": [{"role": "user", "content": question}]},
    first=b'"content":"word0',
    last=b"[DONE]",
)
CHAT = Door("/chat", lambda question: {"question": question}, first=b'"text":"word0', last=b"event: done")
V1_JSON = Door(
    "/v1/chat/completions",
    lambda question: {"model": "headrace", "messages": [{"role": "user", "content": question}]},
    first=b"word0",
    last=b"}",
    accept="application/json",
)
CHAT_JSON = Door("/chat", lambda question: {"question": question}, first=b"word0", last=b"}", accept="application/json")


class _Connection(asyncio.Protocol):
    def __init__(self, door: Door) -> None:
        self._door = door
        self._tail = b""
        self.first = self.last = 0.0
        self.head = b""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if not self.head:
            self.head = data[:40]
        seen = self._tail + data
        if not self.first and self._door.first in seen:
            self.first = time.perf_counter()
        if self._door.last in seen and not self.last:
            self.last = time.perf_counter()
        self._tail = seen[-40:]

    def connection_lost(self, error: Exception | None) -> None:
        del error
        if not self.over.done():
            self.over.set_result(None)


async def ask(url: str, door: Door, question: str, tally: Tally) -> None:
    """Ask once, on a connection of its own, and take note."""
    parts = urlsplit(url)
    body = json.dumps(door.body(question)).encode()
    request = (
        f"POST {door.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Accept: {door.accept}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode() + body
    began = time.perf_counter()
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            transport, connection = await asyncio.get_running_loop().create_connection(
                lambda: _Connection(door), parts.hostname or "", parts.port or 80
            )
            transport.write(request)
            await connection.over
    except (OSError, TimeoutError) as error:
        tally.failed.append(type(error).__name__)
        return
    if connection.first and connection.last:
        tally.first.append(connection.first - began)
        tally.whole.append(connection.last - began)
    else:
        tally.failed.append(connection.head[9:12].decode(errors="replace"))


async def open_loop(url: Sequence[str], door: Door, questions: Sequence[str], a_second: float) -> Tally:
    """Ask these questions, so many a second, at the URLs in turn."""
    tally, tasks = Tally(), []
    loop = asyncio.get_running_loop()
    begin = loop.time()
    for number, question in enumerate(questions):
        await asyncio.sleep(begin + number / a_second - loop.time())
        tasks.append(asyncio.create_task(ask(url[number % len(url)], door, question, tally)))
    await asyncio.gather(*tasks)
    return tally


def cpu_seconds(process: psutil.Process) -> float:
    """The processor time that the process has taken so far."""
    times = process.cpu_times()
    return float(times.user + times.system)
