"""What a chat costs and adds, beside peers, in one interleaved run: docs/performance.md is what this prints.

Open loop: so many chats begin in a second, whether or not earlier ones have ended. The model is a double that takes 300 ms to
its first token and writes 50, 20 ms apart; every server embeds the question, asks the same Qdrant and streams on. LiteLLM's proxy, which needs an environment of its own, is
measured where LITELLM names it (`uv tool install 'litellm[proxy]'`; it searches for nothing).
"""

from __future__ import annotations

import asyncio
import os
import statistics
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass, field

from tests.bench.load.client import CHAT, CHAT_JSON, V1, V1_JSON, Door, Tally, cpu_seconds, open_loop
from tests.bench.load.model_server import FIRST_TOKEN_SECONDS, TOKENS
from tests.bench.load.servers import Server, Surroundings, peers_python, surroundings

RATE = 7.0
SECONDS = 8.0
ROUNDS = 3
SHARE_OF_CAPACITY = 0.7
USERS = (100, 300, 500, 1000)
ASKS_EVERY_SECONDS = 15.0
PROCESSES = 2
HITS = 200
HITS_A_SECOND = 60.0
OPEN_STREAMS = 400


@dataclass(slots=True)
class Figures:
    """Of one server, a value a round: milliseconds that it adds to the first token, and of a processor for a chat."""

    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    failed: int = 0

    def add(self, tally: Tally, cpu_milliseconds: float) -> None:
        p50, p99 = added(tally.first)
        self.p50.append(p50)
        self.p99.append(p99)
        self.cpu.append(cpu_milliseconds)
        self.failed += len(tally.failed)


async def run() -> None:
    """Print the tables."""
    async with surroundings() as around:
        print(f"\nChats that miss the cache, {RATE:g} a second, medians of {ROUNDS} interleaved rounds\n")
        cpu = await _compare(around)
        await _at_capacity(around, cpu)
        await _users(around)
        await _hits(around)
        await _memory(around)


async def _compare(around: Surroundings) -> float:
    """The table of peers. Returns milliseconds of a processor that a chat of ours takes on `/v1`."""
    openings: list[Callable[[], AbstractContextManager[Server]]] = [
        around.by_hand,
        lambda: around.peer_server("minimal FastAPI + openai", module="minimal"),
        lambda: around.peer_server("LangChain on FastAPI", module="langchain_chat", python=peers_python()),
        lambda: around.headrace_server("Headrace, /v1/chat/completions", door=V1),
        lambda: around.headrace_server("Headrace, /chat (a run)", door=CHAT),
    ]
    if litellm := os.environ.get("LITELLM"):
        openings.insert(3, lambda: around.litellm(litellm))
    async with AsyncExitStack() as stack:
        servers = [await asyncio.to_thread(stack.enter_context, opening()) for opening in openings]
        figures = {server.name: Figures() for server in servers}
        for server in servers:
            await measure(server, distinct(6), 3.0)
        for _ in range(ROUNDS):
            for server in servers:
                figures[server.name].add(*await measure(server, distinct(int(RATE * SECONDS)), RATE))
    minimal = statistics.median(figures["minimal FastAPI + openai"].cpu)
    print("| | CPU a chat, ms | of minimal (each round) | added to the first token p50 / p99, ms | failed |")
    print("| --- | --- | --- | --- | --- |")
    for name, each in figures.items():
        ratios = [one / other for one, other in zip(each.cpu, figures["minimal FastAPI + openai"].cpu, strict=True)]
        print(
            f"| {name} | {statistics.median(each.cpu):.1f} | {statistics.median(each.cpu) / minimal:.2f} "
            f"({', '.join(f'{ratio:.2f}' for ratio in ratios)}) | {statistics.median(each.p50):.0f} / "
            f"{statistics.median(each.p99):.0f} | {each.failed} |"
        )
    return statistics.median(figures["Headrace, /v1/chat/completions"].cpu)


async def _at_capacity(around: Surroundings, cpu_milliseconds: float) -> None:
    rate = SHARE_OF_CAPACITY * 1000 / cpu_milliseconds
    print(f"\nOne process at {100 * SHARE_OF_CAPACITY:.0f} % of its capacity ({rate:.0f} chats a second, all misses)\n")
    print("| | added p50 / p99, ms | CPU a chat, ms | failed |\n| --- | --- | --- | --- |")
    with around.headrace_server(door=V1) as server:
        await measure(server, distinct(6), 3.0)
        for _ in range(ROUNDS):
            tally, cpu = await measure(server, distinct(int(rate * SECONDS)), rate)
            p50, p99 = added(tally.first)
            print(f"| round | {p50:.0f} / {p99:.0f} | {cpu:.1f} | {len(tally.failed)} |", flush=True)


async def _users(around: Surroundings) -> None:
    print(
        f"\nUsers who ask every {ASKS_EVERY_SECONDS:g} s, half of it what was asked before; {PROCESSES} processes "
        "(with the model's double, Redis, Qdrant and the askers on the same cores)\n"
    )
    print(
        "| users | chats a second | added p50 / p99 of misses, ms | p50 / p99 of hits, ms | CPU a chat, ms | failed |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    with around.headrace_server(door=V1, processes=PROCESSES) as server:
        old = distinct(50)
        await measure(server, old + old, 5.0)
        for users in USERS:
            rate = users / ASKS_EVERY_SECONDS
            new = distinct(int(rate * SECONDS / 2))
            asked = [question for pair in zip(new, _again(old, len(new)), strict=True) for question in pair]
            tally, cpu = await measure(server, asked, rate)
            misses = [seconds for seconds in tally.first if seconds >= FIRST_TOKEN_SECONDS]
            hits = sorted(1000 * seconds for seconds in tally.first if seconds < FIRST_TOKEN_SECONDS)
            (p50, p99), cuts = added(misses), quantiles(hits)
            print(
                f"| {users} | {rate:.0f} | {p50:.0f} / {p99:.0f} | {cuts[49]:.0f} / {cuts[98]:.0f} | {cpu:.1f} | "
                f"{len(tally.failed)} |",
                flush=True,
            )


async def _hits(around: Surroundings) -> None:
    print(f"\nExact hits of an answer of {TOKENS} tokens, CPU each\n\n| | ms |\n| --- | --- |")
    doors: dict[str, Door] = {
        "/chat, events": CHAT, "/chat, JSON": CHAT_JSON, "/v1, events": V1, "/v1, JSON": V1_JSON,
    }  # fmt: skip
    with around.headrace_server() as server:
        question = distinct(1)
        await measure(server, question, 1.0)
        spent: dict[str, list[float]] = {name: [] for name in doors}
        for _ in range(ROUNDS):
            for name, door in doors.items():
                asked = Server(server.name, server.urls, door, server.processes)
                spent[name].append((await measure(asked, question * HITS, HITS_A_SECOND))[1])
        for name, each in spent.items():
            print(f"| {name} | {statistics.median(each):.2f} |")
    for path in ("/chat", "/v1"):
        ratio = statistics.median(spent[f"{path}, events"]) / statistics.median(spent[f"{path}, JSON"])
        print(f"\n{path}: events take {ratio:.2f} of the processor time of JSON")


async def _memory(around: Surroundings) -> None:
    with around.headrace_server() as server:
        await measure(server, distinct(20), 10.0)
        before = server.processes[0].memory_info().rss
        asking = asyncio.create_task(measure(server, distinct(OPEN_STREAMS), OPEN_STREAMS / 1.2))
        highest = before
        while not asking.done():
            highest = max(highest, server.processes[0].memory_info().rss)
            await asyncio.sleep(0.05)
        await asking
    print(
        f"\n{OPEN_STREAMS} answers that begin within 1.2 s: {(highest - before) / OPEN_STREAMS / 1000:.0f} kB each at the most"
    )


async def measure(server: Server, questions: Sequence[str], a_second: float) -> tuple[Tally, float]:
    """What became of the questions, and the milliseconds of a processor that each took the server."""
    before = sum(map(cpu_seconds, server.processes))
    tally = await open_loop(server.urls, server.door, questions, a_second)
    return tally, 1000 * (sum(map(cpu_seconds, server.processes)) - before) / len(questions)


def distinct(number: int) -> list[str]:
    """Questions that nobody has asked."""
    run = uuid.uuid4().hex[:8]
    return [f"How long is parental leave in office {n} in year {run}-{n}?" for n in range(number)]


def _again(old: Sequence[str], number: int) -> list[str]:
    return [old[n % len(old)] for n in range(number)]


def added(first: Sequence[float]) -> tuple[float, float]:
    """Milliseconds beyond the model's own, median and 99th of a hundred."""
    cuts = quantiles([1000 * (seconds - FIRST_TOKEN_SECONDS) for seconds in first])
    return cuts[49], cuts[98]


def quantiles(values: Sequence[float]) -> list[float]:
    """Hundredths; of fewer than two values, nothing that is a number."""
    return statistics.quantiles(values, n=100, method="inclusive") if len(values) > 1 else [float("nan")] * 99
