"""What every document registry promises."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from headrace.errors import RegistryUnavailableError, SupersededError
from headrace.protocols import DocumentRegistry
from headrace.redis_client import open_redis, tenant_key
from headrace.registries.redis import RedisRegistry
from headrace.types import Document, DocumentKey, DocumentState
from infra.local.processes import free_port


@pytest.fixture(params=["redis"])
def any_registry(request: pytest.FixtureRequest) -> DocumentRegistry:
    registry: DocumentRegistry = {"redis": request.getfixturevalue("registry")}[request.param]
    return registry


@pytest.fixture
def key(tenant: str) -> DocumentKey:
    return DocumentKey(f"documents/{tenant}/a b+ü:{{x}}.txt")


def ready(key: DocumentKey, generation: int = 1) -> Document:
    return Document(key.key, DocumentState.READY, chunks=3, generation=generation, etag="e", uploaded_at=1.5)


async def test_a_record_comes_back_as_it_was_written(any_registry: DocumentRegistry, key: DocumentKey) -> None:
    assert await any_registry.get(key) is None
    attempt = await any_registry.begin(key)
    await any_registry.save(ready(key), attempt=attempt)
    assert await any_registry.get(key) == ready(key)
    assert await any_registry.documents(key.tenant) == [ready(key)]
    assert key.tenant in await any_registry.tenants()


async def test_only_the_newest_attempt_may_write(any_registry: DocumentRegistry, key: DocumentKey) -> None:
    old = await any_registry.begin(key)
    new = await any_registry.begin(key)
    with pytest.raises(SupersededError):
        await any_registry.save(ready(key), attempt=old)
    await any_registry.save(ready(key, 2), attempt=new)
    with pytest.raises(SupersededError):
        await any_registry.remove(key, attempt=old)
    assert await any_registry.generations(key.tenant, [key.key]) == {key.key: 2}


async def test_a_removed_document_is_forgotten_and_an_older_attempt_cannot_bring_it_back(
    any_registry: DocumentRegistry, key: DocumentKey
) -> None:
    first = await any_registry.begin(key)
    await any_registry.save(ready(key), attempt=first)
    last = await any_registry.begin(key)
    await any_registry.remove(key, attempt=last)
    assert await any_registry.get(key) is None
    assert await any_registry.generations(key.tenant, [key.key]) == {}
    for attempt in (first, last):
        with pytest.raises(SupersededError):
            await any_registry.save(ready(key), attempt=attempt)
    assert await any_registry.begin(key) > last


async def test_the_revision_rises_exactly_when_searches_see_something_else(
    any_registry: DocumentRegistry, key: DocumentKey
) -> None:
    attempt = await any_registry.begin(key)
    seen = [await any_registry.revision(key.tenant)]
    for document in (
        replace(ready(key), state=DocumentState.PARSING, generation=None),
        ready(key),
        replace(ready(key), state=DocumentState.EMBEDDING),
        ready(key, 2),
        replace(ready(key), state=DocumentState.FAILED, generation=None),
    ):
        await any_registry.save(document, attempt=attempt)
        seen.append(await any_registry.revision(key.tenant))
    rises = [later > earlier for earlier, later in itertools.pairwise(seen)]
    assert rises == [False, True, False, True, True]
    assert seen == sorted(seen)
    await any_registry.remove(key, attempt=attempt)
    assert await any_registry.revision(key.tenant) == seen[-1], "nothing of it was searchable any more"


async def test_a_lost_registry_goes_on_with_higher_numbers(
    any_registry: DocumentRegistry, redis: Redis, key: DocumentKey
) -> None:
    before = await any_registry.begin(key)
    names = [name async for name in redis.scan_iter(tenant_key(key.tenant, "*"))]
    await redis.delete(*names)
    assert await any_registry.begin(key) > before


async def test_tenants_are_apart(any_registry: DocumentRegistry, key: DocumentKey) -> None:
    await any_registry.save(ready(key), attempt=await any_registry.begin(key))
    stranger = f"{key.tenant}x"
    assert await any_registry.documents(stranger) == []
    assert await any_registry.generations(stranger, [key.key]) == {}
    assert await any_registry.revision(stranger) == 0


async def test_a_server_that_is_gone_is_unavailable(key: DocumentKey) -> None:
    async with open_redis(f"redis://127.0.0.1:{free_port()}/0") as client:
        registry = RedisRegistry(client)
        for call in (registry.check(), registry.begin(key), registry.get(key), registry.revision("t")):
            with pytest.raises(RegistryUnavailableError, match="REDIS_URL"):
                await call
