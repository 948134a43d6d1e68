"""Everything that Redis does for Headrace, on a cluster of three nodes: each tenant's keys meet in one slot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from headrace.caches.indexes import MirrorIndex
from headrace.caches.redis import RedisCache
from headrace.caches.upkeep import RedisUpkeep
from headrace.caches.watch import RedisWatch
from headrace.conversations.redis import RedisConversations
from headrace.flights.redis import RedisRelay
from headrace.redis_client import open_redis
from headrace.registries.redis import RedisRegistry
from headrace.types import (
    CacheKey,
    Chunk,
    Document,
    DocumentKey,
    DocumentState,
    EmbeddedChunk,
    Message,
    Partition,
    Scope,
)
from tests.contract.test_caches import LIMITS, answer
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
    index = MirrorIndex(cluster, most_bytes=10**7)
    cache, watch = RedisCache(cluster, index, LIMITS), RedisWatch(cluster, MirrorIndex(cluster, most_bytes=10**7))
    upkeep = RedisUpkeep(cluster, tenant_bytes=10**7, tenant_entries=100)
    for tenant in TENANTS:
        await registry.open_epoch(tenant)
        key = CacheKey(Partition(Scope(tenant), "f", "m", 0.6), "What is the oil for?")
        other = CacheKey(key.partition, "Who waters the plants?")
        await cache.remember(key, answer(asked="oil"))
        await cache.remember(other, answer(asked="plants"))
        document = DocumentKey(f"documents/{tenant}/oil.txt")
        chunk = EmbeddedChunk(Chunk(document.key, 1, 0, "oil"), vector("oil"))
        clearance = await watch.clearance(tenant, [chunk], "m")
        assert clearance is not None
        assert clearance.doomed == ((key.partition.name, key.id),)
        attempt = await registry.begin(document, embedding_model="m")
        state = Document(document.key, DocumentState.READY, generation=attempt.number)
        assert await registry.save(state, attempt, clearance=clearance)
        assert (await cache.find(key)).found is None
        left = (await cache.find(other)).found
        assert left is not None
        assert left.settled
        (near,) = await cache.nearest(key.partition, vector("plants"), at_least=0.9)
        assert near.id == other.id
        cursor, found = await upkeep.sweep(tenant, 0, embedding_model="m", dry_run=False)
        assert (cursor, found) == (0, {"settled": 1})
        assert (await upkeep.stats(tenant)).entries == 1
        await conversations.append(tenant, "c", [Message("user", "hello")])
        assert [turn.content for turn in await conversations.history(tenant, "c")] == ["hello"]
        lease = await relay.lead(f"{tenant}/q")
        assert lease is not None
        assert await relay.lead(f"{tenant}/q") is None
        assert await relay.send(f"{tenant}/q", lease, [b"one", b"two"], sent=0, ends=True)
        _, messages = await relay.receive(f"{tenant}/q", "", wait_seconds=0.1)
        assert messages == [b"one", b"two"]
        assert await upkeep.flush(tenant, dry_run=False) == 1
    assert set(TENANTS) <= set(await registry.tenants())
    nodes = cast("Any", cluster).get_primaries()
    sizes = [await cast("Any", cluster).dbsize(target_nodes=node) for node in nodes]
    assert all(size > 0 for size in sizes), "the tenants are spread over the nodes"
