"""Everything that Redis does for Headrace, on a cluster of three nodes: each tenant's keys meet in one slot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from headrace.clients.redis import open_redis
from headrace.redis_state.answer_cache.cache import RedisCache
from headrace.redis_state.answer_cache.invalidation import RedisInvalidationPlanner
from headrace.redis_state.answer_cache.maintenance import RedisCacheMaintenance
from headrace.redis_state.answer_cache.question_index import LocalQuestionIndex
from headrace.redis_state.conversations import RedisConversations
from headrace.redis_state.registry import RedisRegistry
from headrace.redis_state.relay import RedisRelay
from headrace.redis_state.run_log import RedisRunLog
from headrace.types import (
    CacheKey,
    Chunk,
    Document,
    DocumentKey,
    DocumentState,
    EmbeddedChunk,
    Message,
    Partition,
    Principal,
    RunName,
    Scope,
)
from tests.contract.test_caches import LIMITS, answer
from tests.support.answer_cache import neighbours
from tests.support.chunks import vector
from tests.support.processes import redis_cluster

TENANTS = [f"tenant-{number}" for number in range(12)]


@pytest.fixture(scope="module")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as url:
        yield url


@pytest.fixture
async def cluster(cluster_url: str) -> AsyncIterator[Redis]:
    async with open_redis(cluster_url, mode="cluster") as client:
        yield client


async def test_documents_answers_flights_and_conversations_live_on_a_cluster(cluster: Redis) -> None:
    registry, conversations, relay = (
        RedisRegistry(cluster),
        RedisConversations(cluster, ttl_seconds=60),
        RedisRelay(cluster),
    )
    index = LocalQuestionIndex(cluster, most_bytes=10**7)
    cache, planner = (
        RedisCache(cluster, index, LIMITS),
        RedisInvalidationPlanner(cluster, LocalQuestionIndex(cluster, most_bytes=10**7)),
    )
    maintenance = RedisCacheMaintenance(cluster, tenant_bytes=10**7, tenant_entries=100)
    for tenant in TENANTS:
        await registry.open_epoch(tenant)
        key = CacheKey(Partition(Scope(tenant), "f", "m", 0.6), "What is the oil for?")
        other = CacheKey(key.partition, "Who waters the plants?")
        await cache.remember(key, answer(asked="oil"))
        await cache.remember(other, answer(asked="plants"))
        document = DocumentKey(f"documents/{tenant}/oil.txt")
        chunk = EmbeddedChunk(Chunk(document.key, 1, 0, "oil"), vector("oil"))
        invalidation = await planner.plan(tenant, [chunk], "m")
        assert invalidation is not None
        assert invalidation.entries == ((key.partition.name, key.id),)
        attempt = await registry.begin(document, embedding_model="m")
        state = Document(document.key, DocumentState.READY, generation=attempt.number)
        assert await registry.save(state, attempt, invalidation=invalidation)
        assert (await cache.find(key)).entry is None
        left = (await cache.find(other)).entry
        assert left is not None
        assert left.fresh
        (near,) = await neighbours(cache, key.partition, vector("plants"), at_least=0.9)
        assert near.id == other.id
        cursor, found = await maintenance.sweep(tenant, 0, embedding_model="m", dry_run=False)
        assert (cursor, found) == (0, {"fresh": 1})
        assert (await maintenance.stats(tenant)).entries == 1
        await conversations.append(Principal(tenant), "c", [Message("user", "hello")])
        assert [turn.content for turn in await conversations.history(Principal(tenant), "c")] == ["hello"]
        lease = await relay.lead(f"{tenant}/q")
        assert lease is not None
        assert await relay.lead(f"{tenant}/q") is None
        assert await relay.send(f"{tenant}/q", lease, [b"one", b"two"], sent=0, ends=True)
        _, messages = await relay.receive(f"{tenant}/q", "", wait_seconds=0.1)
        assert messages == [b"one", b"two"]
        log, run = RedisRunLog(cluster), RunName.of(Principal(tenant), "0" * 16)
        assert not await log.append(run, [b"one", b"two"], after=0, ends=False)
        assert await log.read(run, 1, wait_seconds=0.1) == [b"two"]
        assert await log.stop(run)
        assert await log.append(run, [], after=2, ends=False), "somebody asked to stop it"
        assert not await log.append(run, [b"three"], after=2, ends=True)
        assert not await log.is_going_on(run)
        assert await maintenance.flush(tenant, dry_run=False) == 1
    assert set(TENANTS) <= set(await registry.tenants())
    nodes = cast("Any", cluster).get_primaries()
    sizes = [await cast("Any", cluster).dbsize(target_nodes=node) for node in nodes]
    assert all(size > 0 for size in sizes), "the tenants are spread over the nodes"
