"""A quick look: python -m tests.bench.load [rate] [seconds] [names…]."""

from __future__ import annotations

import asyncio
import statistics
import sys
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack

from tests.bench.load.client import cpu_seconds, open_loop
from tests.bench.load.servers import CHAT, V1, Server, peers_python, surroundings


async def main() -> None:
    rate, seconds = float(sys.argv[1]), float(sys.argv[2])
    names = sys.argv[3:]
    async with surroundings(is_grounded="proxy" not in names) as around, AsyncExitStack() as stack:
        known: dict[str, Callable[[], AbstractContextManager[Server]]] = {
            "hand": around.by_hand,
            "minimal": lambda: around.peer_server("minimal", module="minimal"),
            "langchain": lambda: around.peer_server("langchain", module="langchain_chat", python=peers_python()),
            "v1": lambda: around.headrace_server("headrace /v1", door=V1),
            "chat": lambda: around.headrace_server("headrace /chat", door=CHAT),
        }
        chosen = [known[name] for name in names if name in known]
        servers = [await asyncio.to_thread(stack.enter_context, opening()) for opening in chosen]
        for server in servers:
            await measure(server, 2, 1.0, show=False)
        for _ in range(3):
            for server in servers:
                await measure(server, rate, seconds)


async def measure(server: Server, rate: float, seconds: float, *, show: bool = True) -> None:
    run = uuid.uuid4().hex[:8]
    questions = [f"How long is parental leave in office {n} in year {run}-{n}?" for n in range(int(rate * seconds))]
    before = sum(map(cpu_seconds, server.processes))
    tally = await open_loop(server.urls, server.door, questions, rate)
    cpu = (sum(map(cpu_seconds, server.processes)) - before) / len(questions)
    added = sorted((value - 0.3) * 1000 for value in tally.first) or [0.0, 0.0]
    cuts = statistics.quantiles(added, n=100, method="inclusive")
    if show:
        print(
            f"{server.name:24} {rate:5} a second  added p50 {cuts[49]:7.1f} p99 {cuts[98]:7.1f} ms   "
            f"CPU {cpu * 1000:6.1f} ms a chat   failed {len(tally.failed)} {tally.failed[:3]}",
            flush=True,
        )


asyncio.run(main())
