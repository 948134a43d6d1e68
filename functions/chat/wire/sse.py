"""Server-Sent Events: payloads to bytes, and a stream that pings while quiet and ends with an error it can say.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any, Generic, TypeVar

import orjson

E = TypeVar("E")
Sink = Callable[[bytes], Awaitable[None]]

PING = b": ping\n\n"
# CloudFront and most proxies close a connection that is silent for 30 seconds.
PING_SECONDS = 12.0


def encode(data: Mapping[str, Any] | str, *, event: str | None = None, event_id: str | None = None) -> bytes:
    """One event: its JSON (or, for a string, the string itself) as data, under a name and with an id if it has them."""
    text = data.encode() if isinstance(data, str) else orjson.dumps(data)
    head = f"event: {event}\n" if event else ""
    if event_id:
        head = f"id: {event_id}\n{head}"
    return b"%bdata: %b\n\n" % (head.encode(), text)


def encode_token(text: str, *, event_id: str) -> bytes:
    """What `encode` makes of a token, in a quarter of the time."""
    return b'id: %b\nevent: token\ndata: {"text":%b}\n\n' % (event_id.encode(), orjson.dumps(text))


class EventStream(Generic[E]):
    """Each event's bytes as soon as it comes, a ping when none came for a while, and a failure as its own bytes.

    One task reads the events from start to end, and writes each itself: a slow reader slows the model. What is ready before
    somebody reads is written as one. When the reader leaves, the task is cancelled. An event that `begins` the answer is one
    that nobody need wait any longer for.
    """

    def __init__(
        self,
        events: AsyncGenerator[E, None],
        *,
        write: Callable[[E], bytes],
        write_error: Callable[[Exception], bytes],
        deadline_seconds: float,
        ping_seconds: float = PING_SECONDS,
        begins: Callable[[E], bool] = lambda _: True,
    ) -> None:
        self._events = events
        self._begins = begins
        self._write = write
        self._write_error = write_error
        self._deadline_seconds = deadline_seconds
        self._ping_seconds = ping_seconds
        # What has come before somebody reads, the failure that ended it, and who reads.
        self._held: list[bytes] = []
        self._failure: Exception | None = None
        self._sink: Sink | None = None
        self._is_writing = False
        self._written = 0
        self._first: E | None = None
        self._has_begun = False
        self._came = asyncio.Event()
        self._producer = asyncio.create_task(self._produce())

    async def begin(self, *, hold_seconds: float) -> E | None:
        """Wait until the answer begins, at most `hold_seconds` from the first event on; gives the first event.

        Raises a failure that comes meanwhile: it can still have a status code of its own.
        """
        await self._came.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(hold_seconds):
                while not (self._producer.done() or self._has_begun):
                    self._came.clear()
                    await self._came.wait()
        if self._failure is not None:
            raise self._failure
        return self._first

    async def write_to(self, sink: Sink) -> None:
        """Write the bytes, from the first event on, to their end. Raises what `sink` raises."""
        try:
            while self._held:
                held = b"".join(self._held)
                self._held.clear()
                await sink(held)
            if self._failure is not None:
                await sink(self._write_error(self._failure))
                return
            self._sink = sink
            while not self._producer.done():
                written = self._written
                await asyncio.wait({self._producer}, timeout=self._ping_seconds)
                if written == self._written and not (self._is_writing or self._producer.done()):
                    await sink(PING)
            await self._producer
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """End the reading of events."""
        self._producer.cancel()
        await asyncio.wait({self._producer})
        # A producer that was cancelled before it began has not closed them.
        await self._events.aclose()

    async def _produce(self) -> None:
        try:
            async with asyncio.timeout(self._deadline_seconds), aclosing(self._events):
                async for event in self._events:
                    # An event may have nothing to say in this form.
                    if written := self._write(event):
                        await self._put(written)
                    if not self._has_begun:
                        self._note(event)
        except _SinkError as error:
            raise error.reason from None
        except Exception as error:  # noqa: BLE001 - after the first byte, an error can only be said in the stream
            if self._sink is None:
                self._failure = error
            else:
                await self._sink(self._write_error(error))
        finally:
            self._came.set()

    def _note(self, event: E) -> None:
        if self._first is None:
            self._first = event
        self._has_begun = self._begins(event)
        self._came.set()

    async def _put(self, chunk: bytes) -> None:
        if self._sink is None:
            self._held.append(chunk)
            return
        self._is_writing = True
        try:
            await self._sink(chunk)
        except Exception as error:
            raise _SinkError(error) from error
        self._is_writing = False
        self._written += 1


class _SinkError(Exception):
    """What `sink` raised, which is no failure of the events."""

    def __init__(self, reason: Exception) -> None:
        super().__init__()
        self.reason = reason
