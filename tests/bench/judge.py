"""What a judge costs an asker: time to the first token of hits and misses, with it and without, in turns.

Two chat processes on one model double: one judges near questions, the other has `CACHE_JUDGE=off`. The double takes a
set time for a verdict and another one for its first token, so that what is left is what Headrace adds.
"""

from __future__ import annotations

import statistics
import time

import aiohttp

from tests.bench.chat_processes import chat_processes
from tests.support.http import sse_events
from tests.support.openai_server import Script

ROUNDS = 25
JUDGE_SECONDS = 0.15
FIRST_TOKEN_SECONDS = 0.3
ROOMS = ("blue", "green", "red", "white", "yellow", "grey", "black", "brown", "pink", "golden")
WAYS = ("miss, no judge", "judged miss", "judged hit", "exact hit")


async def run() -> None:
    """Print a table."""
    script = Script(
        reply=lambda _: "It seats twelve [1].",
        first_token_seconds=FIRST_TOKEN_SECONDS,
        choose=lambda prompt: "A" if "How many people" in prompt else "none",
        choose_seconds=JUDGE_SECONDS,
    )
    documents = {"rooms.txt": "\n\n".join(f"The {room} room seats twelve people." for room in ROOMS)}
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    async with (
        chat_processes(script, documents, {}, {"CACHE_JUDGE": "off"}) as (judging, plain),
        aiohttp.ClientSession() as session,
    ):
        for number in range(ROUNDS + 1):
            room = f"{ROOMS[number % len(ROOMS)]} room of house {number}x"
            await _first_token(session, judging, f"What does the {room} seat?")
            found = {
                "miss, no judge": await _first_token(session, plain, f"What does the {room} seat by day?"),
                "judged miss": await _first_token(session, judging, f"What does the {room} seat at night?"),
                "judged hit": await _first_token(session, judging, f"How many people does the {room} seat?"),
                "exact hit": await _first_token(session, judging, f"What does the {room} seat?"),
            }
            for way, (seconds, verdict, tokens) in found.items():
                assert (verdict == "hit") == ("hit" in way), (way, verdict)
                assert bool(tokens) == ("judged" in way), (way, tokens)
                taken[way] += [seconds] if number else []
    print(
        f"\nTime to the first token, {ROUNDS} rounds; the judge takes {1000 * JUDGE_SECONDS:.0f} ms, "
        f"the model's first token {1000 * FIRST_TOKEN_SECONDS:.0f} ms"
    )
    print(f"{'':18}{'p50 ms':>9}{'p90 ms':>9}")
    for way, rounds in taken.items():
        print(f"{way:18}{1000 * statistics.median(rounds):9.1f}{1000 * statistics.quantiles(rounds, n=10)[8]:9.1f}")
    added = statistics.median(
        judged - plain for judged, plain in zip(taken["judged miss"], taken["miss, no judge"], strict=True)
    )
    print(
        f"a judged miss begins {1000 * added:.1f} ms later than one without a judge (median of the rounds' differences)"
    )


async def _first_token(session: aiohttp.ClientSession, url: str, question: str) -> tuple[float, str, int]:
    """Seconds to the first token, the cache's verdict, and the judge's tokens."""
    started, first, tokens = time.perf_counter(), 0.0, 0
    async with session.post(f"{url}/chat", json={"question": question}) as response:
        async for event in sse_events(response):
            if event.name == "token" and not first:
                first = time.perf_counter() - started
            if event.name == "status":
                tokens += event.data.get("judge_tokens", 0)
        return first, response.headers["X-Cache"], tokens
