"""One answer cache, in a process of its own: filled, then asked by one and by a hundred at once.

    python -m tests.bench.cache_client NAME URL ENTRIES FOLDER

All caches get the same vectors, so that no embedding is measured; a hit in other words is, in ours, the lookup of the
candidates that a judge would read. Prints one JSON value when the cache is filled, and one
for each line of its input, the seed of a round. Runs in our environment, or in that of the peers, which has none of
Headrace's packages.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np

DIMENSIONS = 384
TOPICS = 200
THRESHOLD = 0.9
CONCURRENT = 100
ALONE = 150
TOGETHER = {"gptcache": 400, "redisvl": 1_500}
TOGETHER_ELSE = 4_000
Check = Callable[[str, Sequence[float]], Awaitable[str | None]]
OPENED = AsyncExitStack()


def vectors(count: int, seed: int) -> Any:
    """Unit vectors around some topics, as questions are."""
    generator = np.random.default_rng(seed)
    topics = np.random.default_rng(1).normal(size=(TOPICS, DIMENSIONS))
    found = topics[generator.integers(0, TOPICS, count)] + generator.normal(size=(count, DIMENSIONS)) * 1.2
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def near(known: Any, seed: int) -> Any:
    """Each vector, a little turned: the same question in other words."""
    generator = np.random.default_rng(seed)
    turned = known + generator.normal(size=known.shape) * 0.012
    return turned / np.linalg.norm(turned, axis=1, keepdims=True)


async def ours(url: str, known: Any, *, search: bool) -> tuple[Check, dict[str, float]]:
    from headrace.answering.cached import CANDIDATES
    from headrace.clients.redis import open_redis
    from headrace.redis_state.answer_cache.cache import CacheLimits, RedisCache
    from headrace.redis_state.answer_cache.maintenance import RedisCacheMaintenance
    from headrace.redis_state.answer_cache.question_index import LocalQuestionIndex
    from headrace.redis_state.answer_cache.server_index import ServerQuestionIndex
    from headrace.redis_state.registry import RedisRegistry
    from headrace.text.codes import codes_of
    from headrace.types import (
        AnswerMode,
        CachedAnswer,
        CacheEntry,
        CacheKey,
        DoneEvent,
        FinishReason,
        Partition,
        Provenance,
        Scope,
        Stage,
        StatusEvent,
        TokenEvent,
        Usage,
        UsageEvent,
    )

    redis = await OPENED.enter_async_context(open_redis(url))
    await RedisRegistry(redis).open_epoch("acme")
    partition = Partition(Scope("acme"), "f", "m", 0.6)
    limits = CacheLimits(timeout_seconds=30.0, tenant_entries=10**6, tenant_bytes=10**10)

    def make() -> RedisCache:
        return RedisCache(
            redis, ServerQuestionIndex(redis) if search else LocalQuestionIndex(redis, most_bytes=10**9), limits
        )

    cache, started = make(), time.perf_counter()
    for start in range(0, len(known), CONCURRENT):
        await asyncio.gather(
            *(
                cache.remember(
                    CacheKey(partition, f"Which question has number {number}?"),
                    CachedAnswer(
                        0, 1.0,
                        (
                            StatusEvent(Stage.ANSWERING, AnswerMode.GENERATED), TokenEvent(f"answer {number}"),
                            UsageEvent(Usage(100, 20)), DoneEvent(AnswerMode.GENERATED, FinishReason.STOP),
                        ),
                        Provenance(known[number].tolist(), 0.5, {}),
                    ),
                )
                for number in range(start, min(start + CONCURRENT, len(known)))
            )
        )  # fmt: skip
    filled = time.perf_counter() - started
    await RedisCacheMaintenance(redis, tenant_bytes=10**10, tenant_entries=10**6).compact("acme", dry_run=False)
    cache = make()
    await cache.find(CacheKey(partition, "cold"))

    async def candidates(question: str, vector: Sequence[float]) -> tuple[CacheEntry, ...]:
        codes = codes_of(question)
        lookup = await cache.candidates(
            CacheKey(partition, question),
            vector,
            at_least=THRESHOLD,
            limit=CANDIDATES,
            plausible=lambda other: codes_of(other) == codes,
        )
        return lookup.candidates

    started = time.perf_counter()
    await candidates("cold", known[0].tolist())
    cold = time.perf_counter() - started

    async def check(question: str, vector: Sequence[float]) -> str | None:
        own = (await cache.find(CacheKey(partition, question))).entry
        found = (own,) if own is not None else await candidates(question, vector)
        return next((e.text for entry in found for e in entry.answer.events if isinstance(e, TokenEvent)), None)

    return check, {"fill_seconds": filled, "cold_ms": 1000 * cold}


async def redisvl(url: str, known: Any) -> tuple[Check, dict[str, float]]:
    from redisvl.extensions.cache.llm import SemanticCache
    from redisvl.utils.vectorize import CustomTextVectorizer

    vectorizer = CustomTextVectorizer(embed=lambda _: known[0].tolist())
    cache = SemanticCache(name="c", distance_threshold=1 - THRESHOLD, vectorizer=vectorizer, redis_url=url)
    started = time.perf_counter()
    for start in range(0, len(known), CONCURRENT):
        await asyncio.gather(
            *(
                cache.astore(f"Which question has number {number}?", f"answer {number}", vector=known[number].tolist())
                for number in range(start, min(start + CONCURRENT, len(known)))
            )
        )

    async def check(_: str, vector: Sequence[float]) -> str | None:
        found = await cache.acheck(vector=list(vector))
        return str(found[0]["response"]) if found else None

    return check, {"fill_seconds": time.perf_counter() - started}


async def gptcache(folder: str, known: Any) -> tuple[Check, dict[str, float]]:
    from gptcache import Cache, Config
    from gptcache.adapter.api import get
    from gptcache.manager import CacheBase, VectorBase, get_data_manager
    from gptcache.processor.pre import get_prompt
    from gptcache.similarity_evaluation.distance import SearchDistanceEvaluation

    place = Path(folder)
    asked: dict[str, Any] = {}
    manager = get_data_manager(
        CacheBase("sqlite", sql_url=f"sqlite:///{place / 'cache.db'}?timeout=60"),
        VectorBase("faiss", dimension=DIMENSIONS, index_path=str(place / "faiss.index")),
        # Its default keeps a thousand.
        max_size=10**7,
    )
    cache = Cache()
    cache.init(
        pre_embedding_func=get_prompt,
        embedding_func=lambda prompt, **_: asked[prompt],
        data_manager=manager,
        similarity_evaluation=SearchDistanceEvaluation(),
        config=Config(similarity_threshold=0.8),
    )
    started = time.perf_counter()
    for start in range(0, len(known), 1000):
        numbers = range(start, min(start + 1000, len(known)))
        manager.import_data(
            [f"Which question has number {number}?" for number in numbers],
            [f"answer {number}" for number in numbers],
            [known[number].astype("float32") for number in numbers],
            [None for _ in numbers],
        )
    filled = time.perf_counter() - started
    threads = ThreadPoolExecutor(CONCURRENT)

    async def check(question: str, vector: Sequence[float]) -> str | None:
        asked[question] = np.asarray(vector, dtype="float32")
        # It is not asynchronous: a thread for each asker.
        found: str | None = await asyncio.get_running_loop().run_in_executor(
            threads, lambda: get(question, cache_obj=cache)
        )
        return found

    return check, {"fill_seconds": filled}


async def measure(check: Check, known: Any, *, asked: int, seed: int) -> dict[str, float]:
    """Hits and misses of one asker, and hits of a hundred."""
    count = len(known)
    picked = np.random.default_rng(seed).integers(0, count, asked)
    turned = near(known[picked], seed + 1)
    others = vectors(ALONE, seed + 2)
    right = 0

    async def ask(place: int) -> float:
        nonlocal right
        vector = turned[place].tolist()
        started = time.perf_counter()
        found = await check(f"Please tell me: which question has number {picked[place]}?", vector)
        taken = time.perf_counter() - started
        right += found == f"answer {picked[place]}"
        return taken

    for place in range(20):
        await ask(place)
    right = 0
    alone = [await ask(place) for place in range(min(ALONE, asked))]
    recall = right / len(alone)
    again = []
    for place in range(len(alone)):
        vector, started = known[picked[place]].tolist(), time.perf_counter()
        assert await check(f"Which question has number {picked[place]}?", vector) is not None
        again.append(time.perf_counter() - started)
    misses = []
    for place, other in enumerate(others):
        vector, started = other.tolist(), time.perf_counter()
        assert await check(f"something else {seed} {place}", vector) is None
        misses.append(time.perf_counter() - started)
    places = iter(range(asked))
    taken: list[float] = []

    async def asker() -> None:
        for place in places:
            taken.append(await ask(place))  # noqa: PERF401 - askers take turns

    right, started = 0, time.perf_counter()
    await asyncio.gather(*(asker() for _ in range(CONCURRENT)))
    wall = time.perf_counter() - started

    async def repeater() -> None:
        for place in repeats:
            found = await check(f"Which question has number {picked[place]}?", known[picked[place]].tolist())
            assert found == f"answer {picked[place]}", found

    repeats = iter(range(asked))
    started = time.perf_counter()
    await asyncio.gather(*(repeater() for _ in range(CONCURRENT)))
    repeated = time.perf_counter() - started
    return {
        "repeat_p50_ms": 1000 * float(np.percentile(again, 50)), "repeats_a_second": asked / repeated,
        "hit_p50_ms": 1000 * float(np.percentile(alone, 50)), "hit_p99_ms": 1000 * float(np.percentile(alone, 99)),
        "miss_p50_ms": 1000 * float(np.percentile(misses, 50)), "miss_p99_ms": 1000 * float(np.percentile(misses, 99)),
        "hits_a_second": asked / wall, "at_100_p99_ms": 1000 * float(np.percentile(taken, 99)),
        "recall": min(recall, right / asked),
    }  # fmt: skip


def _resident() -> int:
    """Bytes of memory that this process takes up."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def main(name: str, url: str, entries: int, folder: str) -> None:
    known = vectors(entries, 2)
    before = _resident()
    match name:
        case "headrace":
            check, more = await ours(url, known, search=False)
        case "headrace-search":
            check, more = await ours(url, known, search=True)
        case "redisvl":
            check, more = await redisvl(url, known)
        case _:
            check, more = await gptcache(folder, known)
    print(json.dumps(more), flush=True)
    # As chat does when it has started.
    gc.freeze()
    gc.set_threshold(10_000)
    while line := await asyncio.to_thread(sys.stdin.readline):
        figures = await measure(check, known, asked=TOGETHER.get(name, TOGETHER_ELSE), seed=int(line))
        print(json.dumps({**figures, "process_mb": (_resident() - before) / 1e6}), flush=True)
    await OPENED.aclose()


if __name__ == "__main__":
    _, name_, url_, entries_, folder_ = sys.argv
    asyncio.run(main(name_, url_, int(entries_), folder_))
