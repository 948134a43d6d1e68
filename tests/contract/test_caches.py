"""What every answer cache promises."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from headrace.caches.redis import RedisCache
from headrace.protocols import AnswerCache
from headrace.redis_client import open_redis, tenant_key
from headrace.registries.redis import RedisRegistry
from headrace.types import (
    AnswerMode,
    CachedAnswer,
    CacheKey,
    Chunk,
    Citation,
    CitationEvent,
    Document,
    DocumentKey,
    DocumentState,
    DoneEvent,
    Passage,
    PassagesEvent,
    Scope,
    StatusEvent,
    TokenEvent,
    Usage,
    UsageEvent,
)
from infra.local.processes import free_port


@pytest.fixture(params=["redis"])
def any_cache(request: pytest.FixtureRequest, redis: Redis) -> AnswerCache:
    return {"redis": RedisCache(redis, ttl_seconds=60, timeout_seconds=5.0)}[request.param]


@pytest.fixture
async def key(tenant: str, registry: RedisRegistry) -> CacheKey:
    await registry.open_epoch(tenant)
    return CacheKey(Scope(tenant, frozenset({"staff"})), "model-1", "How long is the leave?")


def answer(revision: int = 0) -> CachedAnswer:
    chunk = Chunk("documents/a.txt", 1, 2, "26 weeks “of” leave", page=3, section=("A", "B"))
    events = (
        StatusEvent("answering", AnswerMode.EXTRACTIVE, "quotes"),
        PassagesEvent((Passage(chunk, 0.5),)),
        TokenEvent("26 weeks"),
        TokenEvent(" [1]"),
        CitationEvent(Citation(1, chunk, "26 weeks", 0, 8)),
        UsageEvent(Usage(7, 9)),
        DoneEvent(AnswerMode.EXTRACTIVE, "stop"),
    )
    return CachedAnswer(revision, time.time(), events)


async def test_an_answer_comes_back_event_for_event(any_cache: AnswerCache, key: CacheKey) -> None:
    assert await any_cache.find(key) is None
    remembered = answer()
    await any_cache.remember(key, remembered)
    assert await any_cache.find(key) == remembered


async def test_equal_questions_are_one_question(any_cache: AnswerCache, key: CacheKey) -> None:
    await any_cache.remember(key, answer())
    assert await any_cache.find(replace(key, question="  how LONG is\tthe leave? ")) is not None
    assert await any_cache.find(replace(key, question="How long is the leave")) is None


async def test_nothing_crosses_a_scope_or_a_fingerprint(any_cache: AnswerCache, key: CacheKey) -> None:
    await any_cache.remember(key, answer())
    others = (
        replace(key, fingerprint="model-2"),
        replace(key, scope=Scope(key.scope.tenant)),
        replace(key, scope=Scope(key.scope.tenant, frozenset({"staff", "board"}))),
        replace(key, scope=Scope(key.scope.tenant + "2", key.scope.groups)),
    )
    for other in others:
        assert await any_cache.find(other) is None


async def test_an_answer_is_never_served_after_a_document_changed(
    any_cache: AnswerCache, registry: RedisRegistry, key: CacheKey
) -> None:
    await any_cache.remember(key, answer(await registry.revision(key.scope.tenant)))
    document = DocumentKey(f"documents/{key.scope.tenant}/new.txt")
    attempt = await registry.begin(document, embedding_model="m")
    assert await any_cache.find(key) is not None
    await registry.save(Document(document.key, DocumentState.READY, generation=1), attempt)
    assert await any_cache.find(key) is None


async def test_an_answer_made_before_a_change_and_remembered_after_it_is_not_served(
    any_cache: AnswerCache, registry: RedisRegistry, key: CacheKey
) -> None:
    before = await registry.revision(key.scope.tenant)
    document = DocumentKey(f"documents/{key.scope.tenant}/new.txt")
    await registry.save(
        Document(document.key, DocumentState.READY, generation=1), await registry.begin(document, embedding_model="m")
    )
    await any_cache.remember(key, answer(before))
    assert await any_cache.find(key) is None


async def test_nothing_is_served_while_the_registry_is_not_whole(
    any_cache: AnswerCache, registry: RedisRegistry, key: CacheKey
) -> None:
    tenant = key.scope.tenant
    await any_cache.remember(key, answer(await registry.revision(tenant)))
    assert await any_cache.find(key) is not None
    await registry.distrust(tenant)
    assert await any_cache.find(key) is None
    await registry.open_epoch(tenant)
    assert await any_cache.find(key) is None, "what was made before the doubt is not believed after it"


async def test_entries_expire(any_cache: AnswerCache, redis: Redis, key: CacheKey) -> None:
    await any_cache.remember(key, answer())
    names = [name async for name in redis.scan_iter(tenant_key(key.scope.tenant, "answer", "*"))]
    assert len(names) == 1
    assert 50 <= await redis.ttl(names[0]) <= 60


async def test_an_entry_of_another_release_is_a_miss(any_cache: AnswerCache, redis: Redis, key: CacheKey) -> None:
    await any_cache.remember(key, answer())
    (name,) = [name async for name in redis.scan_iter(tenant_key(key.scope.tenant, "answer", "*"))]
    await redis.set(name, b"not ours")
    assert await any_cache.find(key) is None


async def test_a_server_that_is_gone_or_silent_is_a_miss_and_no_fault(key: CacheKey) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        for url in (f"redis://127.0.0.1:{port}/0", f"redis://127.0.0.1:{free_port()}/0"):
            async with open_redis(url) as client:
                cache = RedisCache(client, ttl_seconds=60, timeout_seconds=0.05)
                await cache.remember(key, answer())
                assert await cache.find(key) is None
