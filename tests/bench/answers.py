"""The answerer without a language model: how many of a new user's questions it answers rightly (tests/support/answers)."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path

from redis.asyncio import Redis

from headrace.embedders.minilm import open_minilm_embedder
from headrace.redis_state.registry import RedisRegistry
from headrace.stores.edge import open_embedded_store
from tests.support import keyless
from tests.support.library import Library
from tests.support.processes import redis_server


async def run() -> None:
    """Print a line for each question that is not answered rightly, and the counts."""
    for folder in (keyless.FOLDER, keyless.HELD_OUT):
        with tempfile.TemporaryDirectory() as place, redis_server(Path(place)) as url:
            await _ask(folder, Path(place), url)


async def _ask(folder: Path, place: Path, url: str) -> None:
    opening = open_embedded_store(place / "store", collection="answers")
    async with open_minilm_embedder("all-MiniLM-L6-v2") as embedder, opening as store, Redis.from_url(url) as redis:
        asked = await keyless.ask_all(Library("answers", embedder, store, RedisRegistry(redis)), folder)
    for question, verdict, answer in asked:
        if verdict != "right" or os.environ.get("HEADRACE_SHOW"):
            print(f"{verdict:8} {question:52} {' '.join(answer.split())[:150]}")
    counts = Counter(verdict for _, verdict, _ in asked)
    verdicts = ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())
    print(f"\n{folder.name}: {counts.total()} questions without a language model: {verdicts}\n")
