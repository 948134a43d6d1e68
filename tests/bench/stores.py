"""Vector stores beside the clients that people use: a hundred searches at once, and what a cold start pays.

The server answers in 30 ms. Then the embedded engine by itself, at two sizes.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headrace.errors import StoreUnavailableError
from headrace.protocols import VectorStore
from headrace.stores.edge import open_embedded_store
from headrace.types import Chunk, EmbeddedChunk, Query, Scope, SearchRequest
from infra.local.processes import ROOT, free_port
from tests.bench.store_client import CONCURRENT
from tests.support.processes import running

OURS = sys.executable
PEERS = str(ROOT / ".venv-peers" / "bin" / "python")
CLIENTS = {
    "headrace_qdrant": OURS, "qdrant_client": OURS, "langchain_qdrant": PEERS,
    "headrace_pinecone": OURS, "pinecone_client": OURS, "langchain_pinecone": PEERS,
}  # fmt: skip
PROCESSES = 5
ROUNDS = 5
SIZES = (10_000, 100_000)
DIMENSIONS = 384
WORDS = 20_000
ENGINE_QUERIES = 50


@dataclass
class Measured:
    """What all processes of one client measured."""

    first_cpu_ms: list[float] = field(default_factory=list)
    rounds: list[dict[str, float]] = field(default_factory=list)

    def median(self, name: str) -> float:
        return statistics.median(round_[name] for round_ in self.rounds)

    @property
    def error_rate(self) -> float:
        return sum(round_["errors"] for round_ in self.rounds) / (len(self.rounds) * CONCURRENT)

    @property
    def answers_a_second(self) -> float:
        return (1 - self.error_rate) * CONCURRENT / self.median("wall_ms") * 1000


async def run() -> None:
    """Print the tables."""
    _clients()
    print("\nembedded engine, one question at a time (ms p50 / p99), and 100 at once (questions a second)")
    print(f"{'chunks':>8} {'fill':>9} {'dense':>15} {'dense and words':>17} {'100 at once':>12}")
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            async with open_embedded_store(Path(folder), collection="bench") as store:
                await _engine(store, size)


def _clients() -> None:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        server = [OURS, "-m", "tests.bench.store_server", str(port)]
        with running(server, port, Path(folder) / "server.log"):
            url = f"http://127.0.0.1:{port}"
            measured = {name: Measured() for name in CLIENTS}
            for _ in range(PROCESSES):
                for name, python in CLIENTS.items():
                    answer = _measure(python, name, url)
                    measured[name].first_cpu_ms.append(answer["first_cpu_ms"])
                    measured[name].rounds += answer["rounds"]
            _cold_starts(url)
    print(
        f"\n{CONCURRENT} searches at once, the server answers in 30 ms; medians of {PROCESSES * ROUNDS} interleaved rounds"
    )
    print(
        f"{'client':<20} {'wall ms':>8} {'answers/s':>10} {'CPU ms/q':>9} {'loop blocked ms':>16} {'errors':>7} {'cold start CPU ms':>18}"
    )
    for name, found in measured.items():
        wall = found.median("wall_ms")
        print(
            f"{name:<20} {wall:>8.0f} {found.answers_a_second:>10.0f} {found.median('cpu_ms'):>9.2f} "
            f"{found.median('blocked_ms'):>16.0f} {found.error_rate:>7.0%} {statistics.median(found.first_cpu_ms):>18.0f}"
        )
    for ours, theirs in (("headrace_qdrant", "langchain_qdrant"), ("headrace_pinecone", "langchain_pinecone")):
        ratio = measured[ours].answers_a_second / measured[theirs].answers_a_second
        print(f"{ours} answers {ratio:.1f} times as many a second as {theirs}")


def _cold_starts(url: str) -> None:
    names = [name for name, python in CLIENTS.items() if python == OURS]
    taken: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(PROCESSES):
        for name in names:
            taken[name].append(_measure(OURS, name, url, "0", "chat")["first_cpu_ms"])
    print("\nwhat a store adds to chat's cold start, to its first answer: CPU ms, median")
    for name, values in taken.items():
        print(f"{name:<20} {statistics.median(values):>8.0f}")


def _measure(python: str, name: str, url: str, *more: str) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'shared'}", "PYTHONWARNINGS": "ignore"}
    command = [python, "-m", "tests.bench.store_client", name, url, *(more or (str(ROUNDS),))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=ROOT)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


async def _engine(store: VectorStore, size: int) -> None:
    generator = random.Random(1)
    words = [f"word{i:x}" for i in range(WORDS)]
    started = time.perf_counter()
    await store.ensure(DIMENSIONS)
    for start in range(0, size, 1000):
        await store.upsert(list(_chunks(generator, words, start, start + 1000)))
    fill = size / (time.perf_counter() - started)
    cells = []
    for weight in (1.0, 0.6):
        taken = []
        for _ in range(ENGINE_QUERIES):
            request = _question(generator, words, weight)
            began = time.perf_counter()
            await store.search(request)
            taken.append((time.perf_counter() - began) * 1000)
        cuts = statistics.quantiles(taken, n=100, method="inclusive")
        cells.append(f"{cuts[49]:.1f} / {cuts[98]:.1f}")
    requests = [_question(generator, words, 0.6) for _ in range(100)]
    began = time.perf_counter()
    try:
        await asyncio.gather(*(store.search(request) for request in requests))
        rate = f"{100 / (time.perf_counter() - began):,.0f}"
    except StoreUnavailableError:
        rate = "over 5 s"
    print(f"{size:>8,} {fill:>7,.0f}/s {cells[0]:>15} {cells[1]:>17} {rate:>12}", flush=True)


def _chunks(generator: random.Random, words: list[str], start: int, end: int) -> Iterable[EmbeddedChunk]:
    for index in range(start, end):
        text = " ".join(generator.choices(words, k=60))
        yield EmbeddedChunk(Chunk(f"documents/acme/d{index // 50}", 1, index % 50, text), _vector(generator))


def _question(generator: random.Random, words: list[str], weight: float) -> SearchRequest:
    text = " ".join(generator.choices(words, k=6))
    return SearchRequest(Scope("acme"), [Query(text, _vector(generator))], 12, dense_weight=weight)


def _vector(generator: random.Random) -> list[float]:
    values = [generator.gauss(0, 1) for _ in range(DIMENSIONS)]
    length = math.sqrt(sum(x * x for x in values))
    return [x / length for x in values]
