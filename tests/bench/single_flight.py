"""A hundred clients ask the same question at once, cold, of two processes: how many calls, and how far behind the last is."""

from __future__ import annotations

import asyncio
import statistics
import time

import aiohttp

from tests.bench.chat_processes import UNLIMITED, chat_processes
from tests.support.http import sse_events
from tests.support.openai_server import Script

CLIENTS = 100
ROUNDS = 7


async def run() -> None:
    """Print a line."""
    script = Script(
        reply=lambda _: "twenty-six weeks it is, and no more [1]", first_token_seconds=0.3, token_gap_seconds=0.1
    )
    documents = {"handbook.txt": "Parents may take 26 weeks of parental leave."}
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        chat_processes(script, documents, UNLIMITED, UNLIMITED) as urls,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        lags, calls = [], []
        for number in range(ROUNDS):
            before = len(script.requests)
            question = f"How many weeks of parental leave are there in case {number}?"
            firsts = await asyncio.gather(*(_first(urls[n % 2], session, question) for n in range(CLIENTS)))
            calls.append(len(script.requests) - before)
            leader = next(at for at, verdict in firsts if verdict == "miss")
            lags.append(1000 * (max(at for at, _ in firsts) - leader))
        print(
            f"\n{CLIENTS} clients, 2 processes, the same question at once, cold, {ROUNDS} rounds: "
            f"{statistics.mean(calls):g} model call a round; the last follower's first token "
            f"{statistics.median(lags):.0f} ms after the leader's (median; from {min(lags):.0f} to {max(lags):.0f})"
        )


async def _first(url: str, session: aiohttp.ClientSession, question: str) -> tuple[float, str]:
    """When the first token came, and the verdict."""
    at = 0.0
    async with session.post(f"{url}/chat", json={"question": question}) as response:
        async for event in sse_events(response):
            if event.name == "token" and not at:
                at = time.perf_counter()
        return at, response.headers["X-Cache"]
