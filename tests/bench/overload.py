"""Goodput past saturation: answers a second that askers get in time, by how many ask at once, with and without shedding.

Each asker asks again as soon as it has its answer, or waits as long as a refusal says. An answer is good that is whole
within GOOD_SECONDS. The model is a double that answers after a second; what is measured is this process.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass, field

import aiohttp

from tests.bench.chat_processes import UNLIMITED, chat_processes
from tests.support.openai_server import Script

CLIENTS = (10, 25, 50, 100, 200, 400)
# Counted after the first ten seconds: askers who have just come are all let in.
WARM_UP_SECONDS = 10.0
SECONDS = 15.0
GOOD_SECONDS = 5.0
DOCUMENTS = {f"leave-{n}.txt": f"Parental leave in office {n} is {n} weeks for every parent." for n in range(200)}


@dataclass
class Counts:
    """What became of the askers' requests."""

    took_seconds: list[float] = field(default_factory=list)
    refused: int = 0
    failed: int = 0

    def line(self, name: str, clients: int) -> str:
        good = [taken for taken in self.took_seconds if taken <= GOOD_SECONDS]
        middle = statistics.median(self.took_seconds) if self.took_seconds else float("nan")
        return (
            f"{name:>12} {clients:>8} {len(good) / SECONDS:>12.1f} {middle:>12.2f} "
            f"{len(self.took_seconds) - len(good):>10} {self.refused:>10} {self.failed:>10}"
        )


async def run() -> None:
    """Print a row for each number of askers, of a process that sheds load and of one that does not."""
    script = Script(reply=lambda _: "It is so, as the handbook has it [1].", first_token_seconds=1.0)
    environments = {"shedding": UNLIMITED, "without": UNLIMITED | {"MOST_OPEN_REQUESTS": "1000000"}}
    print("     process   askers  good a second     median, s       late    refused     failed")
    async with chat_processes(script, DOCUMENTS, *environments.values()) as urls:
        for clients in CLIENTS:
            for name, url in zip(environments, urls, strict=True):
                counts = Counts()
                connector = aiohttp.TCPConnector(limit=0)
                timeout = aiohttp.ClientTimeout(total=60)
                async with aiohttp.ClientSession(url, connector=connector, timeout=timeout) as session:
                    begin = time.perf_counter() + WARM_UP_SECONDS
                    await asyncio.gather(
                        *(_ask_again(session, counts, f"{name}-{clients}-{n}", begin) for n in range(clients))
                    )
                print(counts.line(name, clients), flush=True)


async def _ask_again(session: aiohttp.ClientSession, counts: Counts, asker: str, begin: float) -> None:
    number = 0
    while time.perf_counter() < begin + SECONDS:
        number += 1
        body = {"question": f"How long is parental leave in office {number % 200}, asks {asker}-{number}?"}
        started = time.perf_counter()
        try:
            async with session.post("/chat", json=body) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError):
            counts.failed += time.perf_counter() >= begin
            continue
        ended = time.perf_counter()
        is_counted = begin <= ended <= begin + SECONDS
        if response.status == 503:
            counts.refused += is_counted
            await asyncio.sleep(float(response.headers["Retry-After"]))
        elif response.status == 200 and "event: done" in text:
            counts.took_seconds += [ended - started] if is_counted else []
        else:
            counts.failed += is_counted
