"""Server-Sent Events: payloads to bytes, and a stream that pings while quiet and ends with an error it can say.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

E = TypeVar("E")

PING = b": ping\n\n"
# CloudFront and most proxies close a connection that is silent for 30 seconds.
PING_SECONDS = 12.0


def encode(data: Mapping[str, Any] | str, *, event: str | None = None) -> bytes:
    """One event: its JSON (or, for a string, the string itself) as data, under a name if it has one."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {text}\n\n".encode()


async def stream(
    events: AsyncGenerator[E, None],
    *,
    first: E | None = None,
    write: Callable[[E], bytes],
    write_error: Callable[[Exception], bytes],
    deadline_seconds: float,
    ping_seconds: float = PING_SECONDS,
    on_end: Callable[[], None] | None = None,
) -> AsyncIterator[bytes]:
    """Each event's bytes as soon as it comes, a ping when none came for a while, and a failure as its own bytes.

    `first` is an event that was already taken out of `events`. One task reads the events from start to end, at most one
    ahead of the reader: a slow reader slows the model. When the reader leaves, it is cancelled. `on_end` is called when
    the events have come to their end.
    """
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)

    async def put(event: E) -> None:
        # An event may have nothing to say in this form.
        if written := write(event):
            await queue.put(written)

    async def produce() -> None:
        try:
            async with asyncio.timeout(deadline_seconds), aclosing(events):
                if first is not None:
                    await put(first)
                async for event in events:
                    await put(event)
            if on_end is not None:
                on_end()
        except Exception as error:  # noqa: BLE001 - after the first byte, an error can only be said in the stream
            await queue.put(write_error(error))
        await queue.put(None)

    producer = asyncio.create_task(produce())
    try:
        while True:
            try:
                async with asyncio.timeout(ping_seconds):
                    chunk = await queue.get()
            except TimeoutError:
                chunk = PING
            if chunk is None:
                return
            yield chunk
    finally:
        producer.cancel()
        await asyncio.wait({producer})
        # A producer that was cancelled before it began has not closed them.
        await events.aclose()
