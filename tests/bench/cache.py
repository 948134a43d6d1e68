"""The answer cache beside redisvl's SemanticCache and GPTCache: the same vectors, on the same machine, in one run.

Redis without a search module serves ours; Redis with RediSearch serves ours with the other index, and redisvl.
GPTCache has sqlite and faiss in its own process.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from redis import Redis

from tests.support.processes import ROOT, redis_server, search_redis_server

SIZES = tuple(int(size) for size in os.environ.get("CACHE_SIZES", "1000,10000,100000").split(","))
CACHES = ("headrace", "headrace-search", "redisvl", "gptcache")
PEERS = {"redisvl", "gptcache"}
COLUMNS = (
    "hit_p50_ms", "hit_p99_ms", "miss_p50_ms", "miss_p99_ms", "hits_a_second", "repeats_a_second", "at_100_p99_ms", "recall", "cold_ms",
    "fill_seconds", "server_mb", "process_mb",
)  # fmt: skip


async def run() -> None:
    """Print a table a size."""
    for size in SIZES:
        figures = {name: await _one(name, size) for name in CACHES}
        print(f"\nAnswer cache, {size:,} entries of 384 dimensions, threshold .9; 1 asker, then 100 at once")
        print(f"{'':16}" + "".join(f"{column:>17}" for column in COLUMNS))
        for name, found in figures.items():
            print(f"{name:16}" + "".join(f"{found.get(column, float('nan')):17.2f}" for column in COLUMNS))
        for column, what in (("hits_a_second", "in other words"), ("repeats_a_second", "word for word")):
            ours = figures["headrace"][column]
            ratios = (f"{ours / figures[name][column]:.1f} times {name}" for name in sorted(PEERS) if figures[name])
            print(f"Headrace's throughput at 100 concurrent, asked {what}:", ", ".join(ratios))


async def _one(name: str, size: int) -> dict[str, float]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        serving = redis_server if name in {"headrace", "gptcache"} else search_redis_server
        url = await asyncio.to_thread(stack.enter_context, serving(folder))
        empty = _used(url)
        python = ROOT / (".venv-peers" if name in PEERS else ".venv") / "bin" / "python"
        process = await asyncio.create_subprocess_exec(
            str(python), "-m", "tests.bench.cache_client", name, url, str(size), str(folder),
            cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'shared'}"},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        if process.returncode:
            print(f"{name} at {size:,}: failed\n{err.decode()[-1500:]}")
            return {}
        found: dict[str, Any] = json.loads(out.decode().splitlines()[-1])
        return {**found, "server_mb": (_used(url) - empty) / 1e6}


def _used(url: str) -> float:
    with Redis.from_url(url) as client:
        return float(client.info("memory")["used_memory"])
