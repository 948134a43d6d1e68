"""The answer cache beside redisvl's SemanticCache and GPTCache: the same vectors, on the same machine, in one run.

Redis without a search module serves ours; Redis with RediSearch serves ours with the other index, and redisvl.
GPTCache has sqlite and faiss in its own process.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from statistics import median

from redis import Redis

from tests.support.processes import ROOT, redis_server, search_redis_server

SIZES = tuple(int(size) for size in os.environ.get("CACHE_SIZES", "1000,10000,100000").split(","))
CACHES = ("headrace", "headrace-search", "redisvl", "gptcache")
PEERS = {"redisvl", "gptcache"}
ROUNDS, ROUNDS_LARGE, LARGE = 7, 3, 100_000
COLUMNS = (
    "repeat_p50_ms", "hit_p50_ms", "hit_p99_ms", "miss_p50_ms", "miss_p99_ms", "hits_a_second", "repeats_a_second", "at_100_p99_ms", "recall", "cold_ms",
    "fill_seconds", "server_mb", "process_mb",
)  # fmt: skip


async def run() -> None:
    """Print a table a size."""
    for size in SIZES:
        rounds = await _all(size)
        print(
            f"\nAnswer cache, {size:,} entries of 384 dimensions, threshold .9; 1 asker, then 100 at once; medians of rounds"
        )
        print(f"{'':16}" + "".join(f"{column:>17}" for column in COLUMNS))
        for name, found in rounds.items():
            print(f"{name:16}" + "".join(f"{_median(found, column):17.2f}" for column in COLUMNS))
        for column, what in (
            ("hits_a_second", "in other words (candidates for the judge)"),
            ("repeats_a_second", "word for word"),
        ):
            ratios = (f"{_ratio(rounds['headrace'], rounds[name], column):.1f} times {name}" for name in sorted(PEERS))
            print(f"Headrace's throughput at 100 concurrent, asked {what}:", ", ".join(ratios))


def _median(rounds: list[dict[str, float]], column: str) -> float:
    return median([found[column] for found in rounds if column in found] or [float("nan")])


def _ratio(ours: list[dict[str, float]], theirs: list[dict[str, float]], column: str) -> float:
    """The median of the rounds' ratios: what the machine does in a round, it does to both."""
    pairs = zip(ours, theirs, strict=False)
    return median([one[column] / other[column] for one, other in pairs] or [float("nan")])


async def _all(size: int) -> dict[str, list[dict[str, float]]]:
    """Each cache's rounds. All are filled first; then they take turns, so that what the machine does hits all alike."""
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in CACHES}
    async with AsyncExitStack() as stack:
        filled = {name: await _fill(name, size, stack) for name in CACHES}
        for number in range(ROUNDS if size < LARGE else ROUNDS_LARGE):
            for name, (process, more) in filled.items():
                found = await _ask(name, process, f"{100 * (number + 1)}\n")
                rounds[name] += [{**more, **found}] if found else []
    return rounds


async def _fill(name: str, size: int, stack: AsyncExitStack) -> tuple[asyncio.subprocess.Process, dict[str, float]]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    serving = redis_server if name in {"headrace", "gptcache"} else search_redis_server
    url = await asyncio.to_thread(stack.enter_context, serving(folder))
    empty = _used(url)
    python = ROOT / (".venv-peers" if name in PEERS else ".venv") / "bin" / "python"
    process = await asyncio.create_subprocess_exec(
        str(python), "-m", "tests.bench.cache_client", name, url, str(size), str(folder),
        cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'shared'}"},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=(folder / "errors.txt").open("wb"),
    )  # fmt: skip

    async def end() -> None:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        if process.returncode:
            print(f"{name} at {size:,}: failed\n{(folder / 'errors.txt').read_text()[-800:]}")

    stack.push_async_callback(end)
    found = await _ask(name, process, "")
    return process, {**found, "server_mb": (_used(url) - empty) / 1e6}


async def _ask(name: str, process: asyncio.subprocess.Process, line: str) -> dict[str, float]:
    """The next value that the process prints; nothing when it has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(ConnectionError):
        process.stdin.write(line.encode())
        await process.stdin.drain()
    while said := await process.stdout.readline():
        # A library may have something to say, too.
        if said.startswith(b"{"):
            return dict(json.loads(said))
    print(f"{name} has ended early")
    return {}


def _used(url: str) -> float:
    with Redis.from_url(url) as client:
        return float(client.info("memory")["used_memory"])
