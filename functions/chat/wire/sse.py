"""Server-Sent Events: payloads to bytes, and a stream that pings while quiet and ends with an error it can say.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any, Generic, TypeVar

E = TypeVar("E")

PING = b": ping\n\n"
# CloudFront and most proxies close a connection that is silent for 30 seconds.
PING_SECONDS = 12.0


def encode(data: Mapping[str, Any] | str, *, event: str | None = None, event_id: str | None = None) -> bytes:
    """One event: its JSON (or, for a string, the string itself) as data, under a name and with an id if it has them."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    head = f"event: {event}\n" if event else ""
    if event_id:
        head = f"id: {event_id}\n{head}"
    return f"{head}data: {text}\n\n".encode()


class EventStream(Generic[E]):
    """Each event's bytes as soon as it comes, a ping when none came for a while, and a failure as its own bytes.

    One task reads the events from start to end, at most one ahead of the reader: a slow reader slows the model. When the
    reader leaves, it is cancelled. `on_end` is called when the events have come to their end. An event that `begins` the
    answer is one that nobody need wait any longer for.
    """

    def __init__(
        self,
        events: AsyncGenerator[E, None],
        *,
        write: Callable[[E], bytes],
        write_error: Callable[[Exception], bytes],
        deadline_seconds: float,
        ping_seconds: float = PING_SECONDS,
        on_end: Callable[[], None] | None = None,
        begins: Callable[[E], bool] = lambda _: True,
    ) -> None:
        self._events = events
        self._begins = begins
        self._write = write
        self._write_error = write_error
        self._deadline_seconds = deadline_seconds
        self._ping_seconds = ping_seconds
        self._on_end = on_end
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
        # What has come before somebody reads, and the failure that ended it; None once somebody does.
        self._held: list[bytes] | None = []
        self._failure: Exception | None = None
        self._first: E | None = None
        self._has_begun = False
        self._is_over = False
        self._came = asyncio.Event()
        self._producer = asyncio.create_task(self._produce())

    async def begin(self, *, hold_seconds: float) -> E | None:
        """Wait until the answer begins, at most `hold_seconds` from the first event on; gives the first event.

        Raises a failure that comes meanwhile: it can still have a status code of its own.
        """
        await self._came.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(hold_seconds):
                while not (self._is_over or self._has_begun):
                    self._came.clear()
                    await self._came.wait()
        if self._failure is not None:
            raise self._failure
        return self._first

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes, from the first event on."""
        try:
            held, self._held = b"".join(self._held or ()), None
            if held:
                yield held
            if self._failure is not None:
                yield self._write_error(self._failure)
            while not (self._is_over and self._queue.empty()):
                chunk = await self._next()
                if chunk is None:
                    return
                yield chunk
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """End the reading of events."""
        self._producer.cancel()
        await asyncio.wait({self._producer})
        # A producer that was cancelled before it began has not closed them.
        await self._events.aclose()

    async def _next(self) -> bytes | None:
        try:
            async with asyncio.timeout(self._ping_seconds):
                return await self._queue.get()
        except TimeoutError:
            return PING

    async def _produce(self) -> None:
        try:
            async with asyncio.timeout(self._deadline_seconds), aclosing(self._events):
                async for event in self._events:
                    # An event may have nothing to say in this form.
                    if written := self._write(event):
                        await self._put(written)
                    self._note(event)
            if self._on_end is not None:
                self._on_end()
        except Exception as error:  # noqa: BLE001 - after the first byte, an error can only be said in the stream
            if self._held is not None:
                self._failure = error
            else:
                await self._queue.put(self._write_error(error))
        self._is_over = True
        self._came.set()
        if self._held is None:
            await self._queue.put(None)

    def _note(self, event: E) -> None:
        if self._first is None:
            self._first = event
        self._has_begun = self._has_begun or self._begins(event)
        self._came.set()

    async def _put(self, chunk: bytes) -> None:
        if self._held is not None:
            self._held.append(chunk)
        else:
            await self._queue.put(chunk)


async def stream(
    events: AsyncGenerator[E, None],
    *,
    write: Callable[[E], bytes],
    write_error: Callable[[Exception], bytes],
    deadline_seconds: float,
    ping_seconds: float = PING_SECONDS,
) -> AsyncIterator[bytes]:
    """The bytes of an EventStream that begins when it is read."""
    begun = EventStream(
        events,
        write=write,
        write_error=write_error,
        deadline_seconds=deadline_seconds,
        ping_seconds=ping_seconds,
    )
    async with aclosing(begun.chunks()) as chunks:
        async for chunk in chunks:
            yield chunk
