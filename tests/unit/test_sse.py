"""The stream pings while quiet, says its failure, and is no faster than its reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.chat.routes.ask import EventWriter
from functions.chat.wire import sse
from functions.chat.wire.schemas import event_name, event_payload
from headrace.types import TokenEvent


def stream_of(events: AsyncGenerator[str, None], *, deadline: float = 5.0, ping: float = 5.0) -> sse.EventStream[str]:
    return sse.EventStream(
        events, write=str.encode, write_error=lambda error: type(error).__name__.encode(),
        deadline_seconds=deadline, ping_seconds=ping,
    )  # fmt: skip


async def collect(stream: sse.EventStream[str]) -> list[bytes]:
    chunks: list[bytes] = []

    async def sink(chunk: bytes) -> None:
        chunks.append(chunk)

    await stream.write_to(sink)
    return chunks


def test_text_with_line_breaks_stays_one_event() -> None:
    assert (
        sse.encode({"text": "a\nb\r\u2028"}, event="token")
        == b'event: token\ndata: {"text":"a\\nb\\r\xe2\x80\xa8"}\n\n'
    )
    assert sse.encode("[DONE]") == b"data: [DONE]\n\n"


@given(st.text())
def test_a_token_is_written_as_every_event_is(text: str) -> None:
    event = TokenEvent(text)
    assert EventWriter().write(event, "0123456789abcdef.7") == sse.encode(
        event_payload(event), event=event_name(event), event_id="0123456789abcdef.7"
    )


async def test_a_quiet_stream_pings() -> None:
    async def slow() -> AsyncGenerator[str, None]:
        yield "a"
        await asyncio.sleep(0.1)
        yield "b"

    chunks = await collect(stream_of(slow(), ping=0.03))
    assert chunks[0] == b"a"
    assert chunks[-1] == b"b"
    assert set(chunks[1:-1]) == {sse.PING}


async def test_a_failure_is_the_last_event() -> None:
    async def failing() -> AsyncGenerator[str, None]:
        yield "a"
        raise LookupError

    assert await collect(stream_of(failing())) == [b"a", b"LookupError"]


async def test_the_deadline_is_a_failure_and_ends_the_work() -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncGenerator[str, None]:
        try:
            while True:
                yield "a"
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    assert (await collect(stream_of(endless(), deadline=0.05)))[-1] == b"TimeoutError"
    assert ended.is_set()


async def test_a_slow_reader_slows_the_writer_and_a_leaving_one_ends_it() -> None:
    written = 0
    ended = asyncio.Event()

    async def eager() -> AsyncGenerator[str, None]:
        nonlocal written
        try:
            while True:
                written += 1
                yield "x"
        finally:
            ended.set()

    async def sink(_chunk: bytes) -> None:
        await asyncio.sleep(0.001)
        if written > 12:
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await stream_of(eager()).write_to(sink)
    assert written == 13
    assert ended.is_set()


async def test_what_is_ready_is_written_as_one() -> None:
    async def ready() -> AsyncGenerator[str, None]:
        for _ in range(5):
            yield "x"

    stream = stream_of(ready())
    assert await stream.begin(hold_seconds=1) == "x"
    assert await collect(stream) == [b"xxxxx"]


async def test_a_failure_before_the_first_word_is_raised() -> None:
    async def failing() -> AsyncGenerator[str, None]:
        for _ in ():
            yield "never"
        raise LookupError

    stream = stream_of(failing())
    with pytest.raises(LookupError):
        await stream.begin(hold_seconds=1)
    await stream.aclose()
