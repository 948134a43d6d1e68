"""Five hundred open answers in one process: memory of each, and CPU of an event, as plain streams and as runs with a log."""

from __future__ import annotations

import asyncio
import gc
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from functions.chat.wire import schemas, sse
from headrace.clients.redis import open_redis
from headrace.concurrency.stop import Stop
from headrace.redis_state.run_log import RedisRunLog
from headrace.runs.runs import Runs
from headrace.types import AnswerEvent, AnswerMode, DoneEvent, FinishReason, Principal, TokenEvent, event_id
from tests.support.processes import redis_server

OPEN = 500
TOKENS = 100
GAP_SECONDS = 0.02
ROUNDS = 5


async def run() -> None:
    """Print a table."""
    with redis_server(Path(await asyncio.to_thread(tempfile.mkdtemp))) as url:
        async with open_redis(url) as client:
            ways = {
                "plain streams": None,
                "runs in memory": Runs(),
                "runs with a log in Redis": Runs(RedisRunLog(client)),
            }
            cpu: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(ROUNDS):
                for name, runs in ways.items():
                    cpu[name].append(await _cpu_seconds(runs))
            events = OPEN * (TOKENS + 1)
            print(
                f"\n{OPEN} answers at once, {TOKENS} tokens {1000 * GAP_SECONDS:.0f} ms apart, medians of {ROUNDS} rounds"
            )
            print("| | CPU an event (µs) | kB an open answer, at its end |\n| --- | --- | --- |")
            for name, runs in ways.items():
                kilobytes = await _kilobytes(runs)
                print(f"| {name} | {1e6 * statistics.median(cpu[name]) / events:.0f} | {kilobytes:.1f} |")


async def _answer(stop: Stop | None, hold: asyncio.Event | None = None) -> AsyncGenerator[AnswerEvent, None]:
    for number in range(TOKENS):
        yield TokenEvent(f"word {number} ")
        await asyncio.sleep(GAP_SECONDS)
    if hold is not None:
        await hold.wait()
    yield DoneEvent(AnswerMode.GENERATED, FinishReason.STOP)


def _stream(runs: Runs | None, hold: asyncio.Event | None = None) -> sse.EventStream[tuple[int, AnswerEvent]]:
    if runs is None:
        numbered, name = _numbered(_answer(None, hold)), "0" * 16
    else:
        begun = runs.begin(
            Principal(), lambda stop: _answer(stop, hold), observe=lambda _: None, deadline_seconds=600.0
        )
        numbered, name = begun.events(), begun.id
    return sse.EventStream(
        numbered,
        write=lambda each: sse.encode(schemas.event_payload(each[1]), event="x", event_id=event_id(name, each[0])),
        write_error=lambda error: str(error).encode(),
        deadline_seconds=600.0,
    )


async def _numbered(events: AsyncGenerator[AnswerEvent, None]) -> AsyncGenerator[tuple[int, AnswerEvent], None]:
    number = 0
    async with aclosing(events):
        async for event in events:
            number += 1
            yield number, event


async def _read(stream: sse.EventStream[tuple[int, AnswerEvent]]) -> None:
    async def sink(_chunk: bytes) -> None:
        pass

    await stream.write_to(sink)


async def _cpu_seconds(runs: Runs | None) -> float:
    began = time.process_time()
    await asyncio.gather(*(_read(_stream(runs)) for _ in range(OPEN)))
    return time.process_time() - began


async def _kilobytes(runs: Runs | None) -> float:
    """Of an answer that has all but its end, with its reader."""
    gc.collect()
    tracemalloc.start()
    hold = asyncio.Event()
    reading = [asyncio.create_task(_read(_stream(runs, hold))) for _ in range(OPEN)]
    await asyncio.sleep(GAP_SECONDS * TOKENS + 6)
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    hold.set()
    await asyncio.gather(*reading)
    return size / OPEN / 1000
