"""backfill and verify: what bucket, registry and store disagree about is found, and mended."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from functions.ingest import reconcile
from functions.ingest.dependencies import IngestDependencies
from functions.ingest.pipeline import synchronise
from functions.ingest.resync import resync
from headrace.errors import UnavailableError
from headrace.types import Chunk, DocumentKey, EmbeddedChunk
from tests.support.embedders import HashEmbedder
from tests.support.ingest import FolderBucket

OLD = int((time.time() - 7200) * 1e6)


@pytest.fixture
def deps(ingest_deps: IngestDependencies) -> IngestDependencies:
    return replace(ingest_deps, embedder=HashEmbedder())


async def filled(bucket: FolderBucket, deps: IngestDependencies, tenant: str) -> list[DocumentKey]:
    keys = [DocumentKey(f"documents/{tenant}/{name}") for name in ("a.txt", "b.txt", "sub/c.txt", "d.txt")]
    for key in keys:
        bucket.put(key.key, f"The text of {key.name}.".encode())
        await synchronise(key, deps)
    return keys


async def find_outdated(deps: IngestDependencies, tenant: str, below: str = "") -> list[str]:
    prefix = f"documents/{tenant}/{below}"
    found = await reconcile.find_outdated(
        tenant, prefix, bucket=deps.bucket, registry=deps.registry, recipe=deps.recipe
    )
    return [f"{difference.key.removeprefix(f'documents/{tenant}/')} {difference.what}" for difference in found]


async def test_backfill_finds_what_was_not_read_at_its_present_version(
    bucket: FolderBucket, deps: IngestDependencies, tenant: str
) -> None:
    keys = await filled(bucket, deps, tenant)
    assert await find_outdated(deps, tenant) == []
    bucket.put(f"documents/{tenant}/new.txt", b"new")
    bucket.put(keys[0].key, b"changed")
    bucket.put(keys[1].sidecar, b'{"tags": ["x"]}')
    del bucket.files[keys[2].key]
    assert await find_outdated(deps, tenant) == [
        "a.txt has changed since it was read",
        "b.txt has changed since it was read",
        "new.txt is in the bucket, but not in the registry",
        "sub/c.txt is in the registry, but no longer in the bucket",
    ]
    assert await find_outdated(deps, tenant, "sub/") == ["sub/c.txt is in the registry, but no longer in the bucket"]
    again = replace(deps, recipe="another")
    assert "d.txt was read by another version of the pipeline" in await find_outdated(again, tenant)
    found = await reconcile.verify(tenant, deps)
    await resync([difference.key for difference in found], deps, queue=deps.queue)
    assert await reconcile.verify(tenant, deps) == []


async def test_verify_finds_what_the_store_lacks_or_has_too_much_and_mends_it(
    bucket: FolderBucket, deps: IngestDependencies, tenant: str
) -> None:
    lacking, labelled, deleted, _ = await filled(bucket, deps, tenant)
    await deps.store.delete_older(lacking, before=1 << 62)
    document = await deps.registry.get(labelled)
    assert document is not None
    assert document.generation is not None
    for key, generation, groups in (
        (labelled, document.generation, ("hr",)),
        (deleted, OLD, ()),
        (DocumentKey(f"documents/{tenant}/never.txt"), OLD, ()),
    ):
        chunk = Chunk(key.key, generation, 0, "stray", groups=groups, total=1)
        (vector,) = await deps.embedder.embed([chunk.text_to_embed])
        await deps.store.upsert([EmbeddedChunk(chunk, vector)])
    found = await reconcile.verify(tenant, deps)
    assert [(DocumentKey(d.key).name, d.what) for d in found] == [
        ("a.txt", "has 0 of its 1 chunks in the store"),
        ("b.txt", "has chunks in the store with other groups or tags"),
        ("never.txt", "has 1 chunks in the store that are of no current version"),
        ("sub/c.txt", "has 1 chunks in the store that are of no current version"),
    ]
    await reconcile.repair(found, deps)
    assert await reconcile.verify(tenant, deps) == []
    assert await deps.store.count(tenant) == 4


async def test_an_attempt_that_is_at_work_is_no_difference(
    bucket: FolderBucket, deps: IngestDependencies, tenant: str
) -> None:
    (key, *_) = await filled(bucket, deps, tenant)
    attempt = await deps.registry.begin(key, embedding_model=deps.embedder.model)
    chunk = Chunk(key.key, attempt.number, 0, "on its way", total=9)
    (vector,) = await deps.embedder.embed([chunk.text_to_embed])
    await deps.store.upsert([EmbeddedChunk(chunk, vector)])
    assert await reconcile.verify(tenant, deps) == []


async def test_verify_touches_nothing_while_the_registry_is_lost(
    bucket: FolderBucket, deps: IngestDependencies, tenant: str
) -> None:
    await filled(bucket, deps, tenant)
    await deps.registry.distrust(tenant)
    with pytest.raises(UnavailableError, match="make rebuild"):
        await reconcile.verify(tenant, deps)
