"""What every document registry promises."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from headrace.clients.redis import open_redis, tenant_key
from headrace.errors import IndexMismatchError, RegistryUnavailableError, SupersededError
from headrace.protocols import DocumentRegistry
from headrace.redis_state.registry import RedisRegistry
from headrace.types import Attempt, Document, DocumentKey, DocumentState
from infra.local.processes import free_port

MODEL = "model-a"


@pytest.fixture(params=["redis"])
def any_registry(request: pytest.FixtureRequest) -> DocumentRegistry:
    registry: DocumentRegistry = {"redis": request.getfixturevalue("registry")}[request.param]
    return registry


@pytest.fixture
def key(tenant: str) -> DocumentKey:
    return DocumentKey(f"documents/{tenant}/a b+ü:{{x}}.txt")


def ready(key: DocumentKey, generation: int = 1, groups: tuple[str, ...] = ()) -> Document:
    return Document(
        key.key, DocumentState.READY, chunks=3, generation=generation, etag="e", groups=groups, uploaded_at=1.5
    )


async def begun(registry: DocumentRegistry, key: DocumentKey) -> Attempt:
    return await registry.begin(key, embedding_model=MODEL)


async def current(registry: DocumentRegistry, key: DocumentKey) -> tuple[int, tuple[str, ...]] | None:
    return (await registry.snapshot(key.tenant, [key.key])).current.get(key.key)


async def test_a_record_comes_back_as_it_was_written(any_registry: DocumentRegistry, key: DocumentKey) -> None:
    assert await any_registry.get(key) is None
    document = ready(key, groups=("hr", "ops"))
    await any_registry.save(document, await begun(any_registry, key))
    assert await any_registry.get(key) == document
    assert await any_registry.documents(key.tenant) == [document]
    assert key.tenant in await any_registry.tenants()


async def test_only_the_newest_attempt_may_write(any_registry: DocumentRegistry, key: DocumentKey) -> None:
    old, new = await begun(any_registry, key), await begun(any_registry, key)
    with pytest.raises(SupersededError):
        await any_registry.save(ready(key), old)
    await any_registry.save(ready(key, 2), new)
    with pytest.raises(SupersededError):
        await any_registry.remove(old)
    assert await current(any_registry, key) == (2, ())


async def test_a_removed_document_is_forgotten_and_an_older_attempt_cannot_bring_it_back(
    any_registry: DocumentRegistry, key: DocumentKey
) -> None:
    first = await begun(any_registry, key)
    await any_registry.save(ready(key), first)
    last = await begun(any_registry, key)
    await any_registry.remove(last)
    assert await any_registry.get(key) is None
    assert await current(any_registry, key) is None
    for attempt in (first, last):
        with pytest.raises(SupersededError):
            await any_registry.save(ready(key), attempt)
    assert (await begun(any_registry, key)).number > last.number


async def test_the_revision_rises_exactly_when_searches_see_something_else(
    any_registry: DocumentRegistry, key: DocumentKey
) -> None:
    attempt = await begun(any_registry, key)
    seen = [await any_registry.revision(key.tenant)]
    for document in (
        replace(ready(key), state=DocumentState.PARSING, generation=None),
        ready(key),
        replace(ready(key), state=DocumentState.EMBEDDING),
        ready(key, 2),
        ready(key, 2, groups=("hr",)),
        replace(ready(key), state=DocumentState.FAILED, generation=None),
    ):
        await any_registry.save(document, attempt)
        seen.append(await any_registry.revision(key.tenant))
    rises = [later > earlier for earlier, later in itertools.pairwise(seen)]
    assert rises == [False, True, False, True, True, True]
    assert seen == sorted(seen)
    await any_registry.remove(attempt)
    assert await any_registry.revision(key.tenant) == seen[-1], "nothing of it was searchable any more"


async def test_the_standing_tells_what_may_be_shown_and_how_fresh_a_search_must_be(
    any_registry: DocumentRegistry, key: DocumentKey
) -> None:
    other = DocumentKey(f"documents/{key.tenant}/other")
    attempt = await begun(any_registry, key)
    await any_registry.save(ready(key, attempt.number, ("hr",)), attempt, watermark=7)
    await any_registry.save(ready(other, 5), await begun(any_registry, other), watermark=3)
    snapshot = await any_registry.snapshot(key.tenant, [key.key, other.key, "documents/none"])
    assert snapshot.current == {key.key: (attempt.number, ("hr",)), other.key: (5, ())}
    assert snapshot.newest_attempt > attempt.number
    assert (snapshot.watermark, snapshot.embedding_model, snapshot.epoch) == (7, MODEL, "")


async def test_an_epoch_is_opened_once_and_ends_with_doubt_or_loss(
    any_registry: DocumentRegistry, redis: Redis, key: DocumentKey
) -> None:
    async def epoch() -> str:
        return (await any_registry.snapshot(key.tenant)).epoch

    await any_registry.save(ready(key), await begun(any_registry, key))
    assert await epoch() == ""
    await any_registry.open_epoch(key.tenant)
    first = await epoch()
    await any_registry.open_epoch(key.tenant)
    assert await epoch() == first != ""
    await any_registry.distrust(key.tenant)
    assert await epoch() == ""
    await any_registry.open_epoch(key.tenant)
    assert await epoch() not in {"", first}
    await redis.delete(*[name async for name in redis.scan_iter(tenant_key(key.tenant, "*"))])
    assert await epoch() == ""


async def test_a_lost_registry_goes_on_with_higher_numbers(
    any_registry: DocumentRegistry, redis: Redis, key: DocumentKey
) -> None:
    before = await begun(any_registry, key)
    await redis.delete(*[name async for name in redis.scan_iter(tenant_key(key.tenant, "*"))])
    assert (await begun(any_registry, key)).number > before.number


async def test_another_embedding_model_is_refused_until_the_tenant_is_switched(
    any_registry: DocumentRegistry, key: DocumentKey
) -> None:
    attempt = await begun(any_registry, key)
    with pytest.raises(IndexMismatchError, match="make reindex"):
        await any_registry.begin(key, embedding_model="model-b")
    revision = await any_registry.revision(key.tenant)
    await any_registry.save(ready(key), attempt)
    assert not await any_registry.switch_model(key.tenant, "model-b", revision=revision), "a document has changed"
    revision = await any_registry.revision(key.tenant)
    assert await any_registry.switch_model(key.tenant, "model-b", revision=revision, watermark=2)
    assert await any_registry.revision(key.tenant) > revision, "cached answers came from other passages"
    with pytest.raises(IndexMismatchError):
        await any_registry.save(ready(key, 2), attempt)
    await any_registry.save(ready(key, 2), await any_registry.begin(key, embedding_model="model-b"))


async def test_tenants_are_apart(any_registry: DocumentRegistry, key: DocumentKey) -> None:
    await any_registry.save(ready(key), await begun(any_registry, key))
    stranger = f"{key.tenant}x"
    assert await any_registry.documents(stranger) == []
    assert (await any_registry.snapshot(stranger, [key.key])).current == {}
    assert await any_registry.revision(stranger) == 0


async def test_a_server_that_is_gone_is_unavailable(key: DocumentKey) -> None:
    async with open_redis(f"redis://127.0.0.1:{free_port()}/0") as client:
        registry = RedisRegistry(client)
        for call in (registry.check(), begun(registry, key), registry.get(key), registry.snapshot("t")):
            with pytest.raises(RegistryUnavailableError, match="REDIS_URL"):
                await call


async def test_a_write_that_took_effect_may_be_sent_again_after_a_newer_attempt_has_begun(
    any_registry: DocumentRegistry, key: DocumentKey
) -> None:
    old = await begun(any_registry, key)
    await any_registry.save(ready(key), old)
    revision = await any_registry.revision(key.tenant)
    new = await begun(any_registry, key)
    await any_registry.save(ready(key), old)
    assert await any_registry.revision(key.tenant) == revision
    with pytest.raises(SupersededError):
        await any_registry.save(replace(ready(key), etag="other"), old)
    await any_registry.save(ready(key, 2), new)
    with pytest.raises(SupersededError):
        await any_registry.save(ready(key), old)


async def test_pages_have_the_documents_by_key_and_count_them(any_registry: DocumentRegistry, tenant: str) -> None:
    keys = [f"documents/{tenant}/{number:02}.txt" for number in range(25)]
    for number, name in enumerate(keys):
        state = DocumentState.FAILED if number % 5 == 0 else DocumentState.READY
        document = Document(name, state, groups=("hr",) if number % 2 else ())
        await any_registry.save(document, await begun(any_registry, DocumentKey(name)))
    first = await any_registry.page(tenant, limit=10)
    second = await any_registry.page(tenant, after=first.next, limit=10)
    last = await any_registry.page(tenant, after=second.next, limit=10)
    assert [each.key for page in (first, second, last) for each in page.documents] == keys
    assert (bool(first.next), last.next) == (True, "")
    assert first.counts(lambda groups: not groups) == {
        **dict.fromkeys(DocumentState, 0),
        DocumentState.READY: 10,
        DocumentState.FAILED: 3,
    }
    failed = await any_registry.page(tenant, state=DocumentState.FAILED)
    assert [each.key for each in failed.documents] == keys[::5]
    some = await any_registry.page(tenant, prefix=f"documents/{tenant}/1", state=DocumentState.READY)
    assert [each.key[-6:-4] for each in some.documents] == ["11", "12", "13", "14", "16", "17", "18", "19"]
    await any_registry.remove(await begun(any_registry, DocumentKey(keys[0])))
    assert sum(number for number in (await any_registry.page(tenant, limit=0)).labels.values()) == 24
    assert (await any_registry.page(f"{tenant}-nobody")).documents == ()


@pytest.mark.parametrize("lost", ["names", "counts", "ready", "records"])
async def test_an_index_that_was_lost_is_made_anew(
    any_registry: DocumentRegistry, redis: Redis, tenant: str, lost: str
) -> None:
    names = [f"documents/{tenant}/{number}.txt" for number in range(3)]
    for name in names:
        await any_registry.save(ready(DocumentKey(name)), await begun(any_registry, DocumentKey(name)))
        await any_registry.page(tenant)
    if lost == "records":
        # As an older release left it.
        await redis.hdel(tenant_key(tenant, "registry"), "records", *(f"l:{name}" for name in names))
    else:
        await redis.delete(tenant_key(tenant, "registry", lost))
    page = await any_registry.page(tenant, state=DocumentState.READY)
    assert [each.key for each in page.documents] == names
    assert page.counts(lambda _: True)[DocumentState.READY] == 3


async def test_changes_tell_which_records_were_written(any_registry: DocumentRegistry, tenant: str) -> None:
    one, other = (DocumentKey(f"documents/{tenant}/{name}.txt") for name in "ab")
    position = await any_registry.latest_change(tenant)
    assert await any_registry.changes(tenant, position, wait_seconds=0.01) == (position, [])
    await any_registry.save(ready(one), await begun(any_registry, one))
    position, keys = await any_registry.changes(tenant, position, wait_seconds=1.0)
    assert keys == [one.key]
    assert await any_registry.latest_change(tenant) == position
    for key in (other, one):
        await any_registry.save(ready(key, 2), await begun(any_registry, key))
    await any_registry.remove(await begun(any_registry, other))
    position, keys = await any_registry.changes(tenant, position, wait_seconds=1.0)
    assert keys == [other.key, one.key]


async def test_who_waits_long_for_a_change_has_none_and_no_fault(any_registry: DocumentRegistry, tenant: str) -> None:
    # A connection gives up on an answer after five seconds.
    assert await any_registry.changes(tenant, "0", wait_seconds=30.0) == ("0", [])
