"""The streaming runtime beside mangum on AWS's runtime, and beside uvicorn behind a proxy: one machine, interleaved.

Each contender is a function process that polls the same strict Runtime API and
serves the same FastAPI application.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil

from infra.local.processes import ROOT, free_port
from infra.local.runtime_api import Outcome, RuntimeApiServer
from tests.support.runtime_api import url_event

OURS = "headrace.lambda_runtime"
NAMES = (OURS, "mangum + awslambdaric", "proxy + uvicorn")
START_SECONDS = 30.0
COLD_ROUNDS = 7
WARM_ROUNDS = 40
WARM_CALLS = 25
STREAM_ROUNDS = 8
FLOOD_TOKENS = 5_000
FLOOD_ROUNDS = 5
STREAMS = 64


@dataclass
class Figures:
    """What was measured of one contender; times in milliseconds."""

    cold: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    first_byte: list[float] = field(default_factory=list)
    gap_error: list[float] = field(default_factory=list)
    tokens_per_second: list[float] = field(default_factory=list)
    rss_mb: float = 0.0


async def run() -> None:
    """Print the table."""
    figures = {name: Figures() for name in NAMES}
    for _ in range(COLD_ROUNDS):
        for name in NAMES:
            async with _launched(name) as (_, seconds, _process):
                figures[name].cold.append(seconds * 1000)
    async with AsyncExitStack() as stack:
        running = {name: await stack.enter_async_context(_launched(name)) for name in NAMES}
        for api, _, _process in running.values():
            await _warm(api, 50)
        for _ in range(WARM_ROUNDS):
            for name, (api, _, _process) in running.items():
                figures[name].warm += await _warm(api, WARM_CALLS)
        for _ in range(STREAM_ROUNDS):
            for name, (api, _, _process) in running.items():
                first, gaps = await _stream(api)
                figures[name].first_byte.append(first)
                figures[name].gap_error += gaps
        for _ in range(FLOOD_ROUNDS):
            for name, (api, _, _process) in running.items():
                figures[name].tokens_per_second.append(await _flood(api))
        for name, (_, _, process) in running.items():
            figures[name].rss_mb = _rss_mb(process.pid)
    _print(figures)
    await _many_streams()


@asynccontextmanager
async def _launched(
    name: str, **environ: str
) -> AsyncIterator[tuple[RuntimeApiServer, float, asyncio.subprocess.Process]]:
    """The contender's process, from the moment it asks for its first event; with the seconds until then."""
    commands = {
        OURS: ["-m", "headrace.lambda_runtime", "tests.bench.runtime_app:app"],
        "mangum + awslambdaric": ["-m", "awslambdaric", "tests.bench.runtime_app.handler"],
        "proxy + uvicorn": ["-m", "tests.bench.runtime_proxy", str(free_port())],
    }
    async with RuntimeApiServer().serve() as api:
        environment = {
            **os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "shared"))),
            "AWS_LAMBDA_RUNTIME_API": api.address, "_HANDLER": "x.y", "LAMBDA_TASK_ROOT": str(ROOT),
            "AWS_LAMBDA_FUNCTION_NAME": "bench", "AWS_LAMBDA_FUNCTION_VERSION": "1",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024", **environ,
        }  # fmt: skip
        started = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            sys.executable, *commands[name], env=environment, stdout=asyncio.subprocess.DEVNULL, start_new_session=True
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                await api.ready.wait()
            yield api, time.perf_counter() - started, process
        finally:
            os.killpg(process.pid, 9)
            await process.wait()


async def _warm(api: RuntimeApiServer, calls: int) -> list[float]:
    """Milliseconds from handing over the event to the whole answer, for `/ping`."""
    taken = []
    for _ in range(calls):
        outcome = await api.run(url_event(path="/ping"))
        taken.append((outcome.answered_at - outcome.taken_at) * 1000)
    return taken


def _lines(outcome: Outcome) -> list[tuple[float, float]]:
    """(sent, arrived) of each line, in seconds of the one clock."""
    if outcome.payload is not None:
        text = json.loads(outcome.payload)["body"]
        return [(int(line) / 1e9, outcome.answered_at) for line in text.split()]
    lines = []
    for at, chunk in outcome.chunks[2:]:
        lines += [(int(line) / 1e9, at) for line in chunk.split()]
    return lines


async def _stream(api: RuntimeApiServer) -> tuple[float, list[float]]:
    """Milliseconds from the application's first byte to its arrival, and each gap's error, for 20 tokens 50 ms apart."""
    lines = _lines(await api.run(url_event(path="/tokens", rawQueryString="count=20&gap_ms=50")))
    first = (lines[0][1] - lines[0][0]) * 1000
    return first, [abs((b[1] - a[1]) - (b[0] - a[0])) * 1000 for a, b in itertools.pairwise(lines)]


async def _flood(api: RuntimeApiServer) -> float:
    """Tokens a second when the application never waits."""
    query = f"count={FLOOD_TOKENS}&gap_ms=0"
    outcome = await api.run(url_event(path="/tokens", rawQueryString=query))
    return FLOOD_TOKENS / (outcome.answered_at - outcome.taken_at)


def _rss_mb(pid: int) -> float:
    """Resident memory of a process and its children."""
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    total: int = sum(member.memory_info().rss for member in family)
    return total / 1e6


async def _many_streams() -> None:
    async with _launched(OURS, AWS_LAMBDA_MAX_CONCURRENCY=str(STREAMS)) as (api, _, process):
        started = time.perf_counter()
        query = "count=20&gap_ms=50"
        outcomes = [api.invoke(url_event(path="/tokens", rawQueryString=query)) for _ in range(STREAMS)]
        await asyncio.sleep(0.5)
        rss = _rss_mb(process.pid)
        await asyncio.gather(*(outcome.done.wait() for outcome in outcomes))
        seconds = time.perf_counter() - started
    async with AsyncExitStack() as stack:
        single = [await stack.enter_async_context(_launched(OURS)) for _ in range(8)]
        for api, _, _process in single:
            await _warm(api, 3)
        alone = statistics.mean(_rss_mb(process.pid) for _, _, process in single)
    print(f"\n{STREAMS} streams of 20 tokens 50 ms apart in one process: {seconds:.2f} s, {rss:.0f} MB;")
    print(
        f"in {STREAMS} processes: {STREAMS * alone:.0f} MB ({alone:.0f} MB each, mean of 8): {rss / (STREAMS * alone):.3f} of it"
    )


def _print(figures: dict[str, Figures]) -> None:
    rows: list[tuple[str, Any]] = [
        ("cold start to first /next, median ms", lambda f: f"{statistics.median(f.cold):.0f}"),
        ("cold start to first /next, best ms", lambda f: f"{min(f.cold):.0f}"),
        ("warm /ping p50 / p99, ms", lambda f: f"{_at(f.warm, 50):.2f} / {_at(f.warm, 99):.2f}"),
        (
            "first byte after the application's p50 / p99, ms",
            lambda f: f"{_at(f.first_byte, 50):.2f} / {_at(f.first_byte, 99):.2f}",
        ),
        ("gap error p50 / p99, ms", lambda f: f"{_at(f.gap_error, 50):.2f} / {_at(f.gap_error, 99):.2f}"),
        ("tokens a second, no delay", lambda f: f"{statistics.median(f.tokens_per_second):,.0f}"),
        ("resident memory, MB", lambda f: f"{f.rss_mb:.0f}"),
    ]
    print("\n" + " " * 50 + "".join(f"{name:>24}" for name in figures))
    for label, cell in rows:
        print(f"{label:<50}" + "".join(f"{cell(f):>24}" for f in figures.values()))


def _at(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
