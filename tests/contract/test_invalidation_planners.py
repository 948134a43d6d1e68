"""Before a flip: which cached answers the new chunks would have been retrieved for, held against plain arithmetic."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from headrace.redis_state.answer_cache.cache import RedisCache
from headrace.redis_state.answer_cache.invalidation import RedisInvalidationPlanner
from headrace.redis_state.answer_cache.question_index import LocalQuestionIndex
from headrace.redis_state.answer_cache.server_index import ServerQuestionIndex
from headrace.redis_state.registry import RedisRegistry
from headrace.text.lexical import blend, overlap
from headrace.types import (
    AnswerMode,
    CachedAnswer,
    CacheKey,
    Chunk,
    DoneEvent,
    EmbeddedChunk,
    FinishReason,
    InvalidationReason,
    Partition,
    Provenance,
    Scope,
    TokenEvent,
)
from tests.contract.test_caches import LIMITS
from tests.support.chunks import vector

WORDS = "oil leave bearing weeks turbine office parents holiday pressure valve".split()


def near(text: str, generator: random.Random) -> list[float]:
    """A unit vector somewhere between the text's own and another one."""
    share = generator.random()
    mixed = [share * a + (1 - share) * b for a, b in zip(vector(text), vector(str(generator.random())), strict=True)]
    length = sum(value * value for value in mixed) ** 0.5
    return [value / length for value in mixed]


def answer(provenance: Provenance) -> CachedAnswer:
    return CachedAnswer(0, 1.0, (TokenEvent("so"), DoneEvent(AnswerMode.GENERATED, FinishReason.STOP)), provenance)


@pytest.mark.parametrize("seed", range(8))
async def test_the_doomed_are_those_whose_bar_a_chunk_reaches(
    seed: int, redis: Redis, registry: RedisRegistry, tenant: str
) -> None:
    generator = random.Random(seed)
    await registry.open_epoch(tenant)
    cache = RedisCache(redis, LocalQuestionIndex(redis, most_bytes=10**8), LIMITS)
    planner = RedisInvalidationPlanner(redis, LocalQuestionIndex(redis, most_bytes=1))
    weight = generator.choice((0.4, 0.6, 1.0))
    partitions = [
        Partition(Scope(tenant, frozenset(groups)), f"f{number}", "m", weight, filter_)
        for number, (groups, filter_) in enumerate((((), {}), (("hr",), {}), (("hr",), {"name": "b.txt"})))
    ]
    asked: dict[tuple[str, str], tuple[Partition, str, Provenance]] = {}
    retired: set[tuple[str, str]] = set()
    for round_ in range(3):
        for _ in range(40):
            partition = generator.choice(partitions)
            question = " ".join(generator.choices(WORDS, k=3)) + f" {generator.random():.6f}"
            # An agent's answer depends on each new chunk.
            bar = -1e6 if generator.random() < 0.1 else generator.uniform(0.2, 0.9)
            provenance = Provenance(near(question, generator), bar, {})
            key = CacheKey(partition, question)
            await cache.remember(key, answer(provenance))
            asked[partition.name, key.id] = (partition, question, provenance)
        for place in generator.sample(sorted(asked.keys() - retired), 5):
            await cache.invalidate(tenant, ["-".join(place)], InvalidationReason.WRONG)
            retired.add(place)
        chunks = [
            EmbeddedChunk(
                Chunk(
                    f"documents/{tenant}/{generator.choice('ab')}.txt", 9, index,
                    " ".join(generator.choices(WORDS, k=8)), groups=generator.choice(((), ("hr",), ("board",))),
                ),
                near(generator.choice(sorted(q for _, q, _ in asked.values())), generator),
            )
            for index in range(generator.randrange(1, 12))
        ]  # fmt: skip
        invalidation = await planner.plan(tenant, chunks, "m")
        assert invalidation is not None
        assert invalidation.answers == 40 * (round_ + 1)
        said = set(invalidation.entries)
        assert not said & retired
        for place in asked.keys() - retired:
            partition, question, provenance = asked[place]
            margin = max(
                (score(question, provenance, chunk, weight) for chunk in chunks if may_find(partition, chunk.chunk)),
                default=-math.inf,
            ) - provenance.admission_score  # fmt: skip
            if margin >= 0:
                assert place in said, "a new chunk would be retrieved for it"
            elif margin < -0.03:
                assert place not in said, "nothing new comes near it"


def may_find(partition: Partition, chunk: Chunk) -> bool:
    return partition.scope.may_see(chunk.groups) and partition.filter.get("name", chunk.name) == chunk.name


def score(question: str, provenance: Provenance, chunk: EmbeddedChunk, weight: float) -> float:
    similarity = sum(a * b for a, b in zip(provenance.vector, chunk.vector, strict=True))
    return blend(similarity, overlap(question, chunk.chunk.text_to_embed), weight)


async def test_what_the_watch_can_not_look_through_is_not_cleared(
    redis: Redis, registry: RedisRegistry, tenant: str
) -> None:
    await registry.open_epoch(tenant)
    planner = RedisInvalidationPlanner(redis, LocalQuestionIndex(redis, most_bytes=10**8))
    chunk = EmbeddedChunk(Chunk(f"documents/{tenant}/a.txt", 1, 0, "oil"), vector("oil"))
    nothing = await planner.plan(tenant, [chunk], "m")
    assert nothing is not None
    assert (nothing.answers, nothing.entries) == (0, ())
    partition = Partition(Scope(tenant), "f", "m", 0.6)
    searched = RedisCache(redis, _NoSearch(redis), LIMITS)
    await searched.remember(CacheKey(partition, "oil?"), answer(Provenance(vector("oil"), 0.5, {})))
    assert await planner.plan(tenant, [chunk], "m") is None, "the server's index keeps no bars"
    short = EmbeddedChunk(replace(chunk.chunk), [1.0, 0.0])
    other = tenant + "2"
    await registry.open_epoch(other)
    cache = RedisCache(redis, LocalQuestionIndex(redis, most_bytes=10**8), LIMITS)
    await cache.remember(
        CacheKey(replace(partition, scope=Scope(other)), "oil?"), answer(Provenance(vector("oil"), 0.5, {}))
    )
    assert await planner.plan(other, [short], "m") is None, "vectors that can't be compared"
    moved = await planner.plan(other, [short], "another model")
    assert moved is not None
    assert moved.entries == ()


class _NoSearch(ServerQuestionIndex):
    """As if the server had a search module."""

    async def add(self, key: CacheKey, vector: Sequence[float], *, ttl_ms: int) -> None:
        """It has not."""
