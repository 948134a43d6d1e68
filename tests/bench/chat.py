"""Time to first byte of an answer over HTTP, on the local stack with the extractive model, 1 and 100 clients at once."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp

from infra.local.processes import free_port
from infra.local.stack import StackOptions, run_stack
from tests.bench.chat_processes import UNLIMITED

ROUNDS = 5
NEW = "How many weeks of parental leave are there in year {}?"
REPEATED = "How much oil does the main bearing take?"


async def run() -> None:
    """Print seconds to the first answer, and the table of first bytes."""
    with tempfile.TemporaryDirectory() as folder:
        options = StackOptions(Path(folder), port=free_port(), s3_port=free_port())
        started = time.perf_counter()
        async with run_stack(options, environ={**os.environ, **UNLIMITED}, report=lambda _: None) as stack:
            async with aiohttp.ClientSession(stack.url, connector=aiohttp.TCPConnector(limit=0)) as session:
                await _first_bytes(session, REPEATED)
                print(f"\nfirst start to first answer: {time.perf_counter() - started:.1f} s (packages installed)\n")
                print("answer over HTTP, ms          first byte p50 / p99     first passages p50 / p99")
                for clients in (1, 100):
                    for name, question in (("new question", NEW), ("repeated question", REPEATED)):
                        await _row(session, name, question, clients)


async def _row(session: aiohttp.ClientSession, name: str, question: str, clients: int) -> None:
    taken: list[tuple[float, float]] = []
    rounds = ROUNDS if clients > 1 else 60
    for round_ in range(rounds):
        questions = [question.format(f"{clients}-{round_}-{i}") for i in range(clients)]
        taken += await asyncio.gather(*(_first_bytes(session, q) for q in questions))
    cells = []
    for values in zip(*taken, strict=True):
        cuts = statistics.quantiles(values, n=100, method="inclusive")
        cells.append(f"{cuts[49] * 1000:8.1f} / {cuts[98] * 1000:8.1f}")
    print(f"{name:>18} x {clients:<4}     {cells[0]}     {cells[1]}")


async def _first_bytes(session: aiohttp.ClientSession, question: str) -> tuple[float, float]:
    """Seconds to the stream's first byte, and to its passages."""
    started = time.perf_counter()
    first = passages = 0.0
    async with session.post("/chat", json={"question": question}) as response:
        async for line in response.content:
            first = first or time.perf_counter() - started
            if line.startswith(b"event: passages"):
                passages = time.perf_counter() - started
    return first, passages
