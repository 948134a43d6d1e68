"""backfill and verify: what bucket, registry and store disagree about is found, and mended."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from functions.ingest import differences
from functions.ingest.again import look_again
from functions.ingest.pipeline import IngestParts, synchronise
from headrace.errors import UnavailableError
from headrace.types import Chunk, DocumentKey, EmbeddedChunk
from tests.support.embedders import HashEmbedder
from tests.support.ingest import FolderBucket

OLD = int((time.time() - 7200) * 1e6)


@pytest.fixture
def parts(ingest_parts: IngestParts) -> IngestParts:
    return replace(ingest_parts, embedder=HashEmbedder())


async def filled(bucket: FolderBucket, parts: IngestParts, tenant: str) -> list[DocumentKey]:
    keys = [DocumentKey(f"documents/{tenant}/{name}") for name in ("a.txt", "b.txt", "sub/c.txt", "d.txt")]
    for key in keys:
        bucket.put(key.key, f"The text of {key.name}.".encode())
        await synchronise(key, parts)
    return keys


async def missed(parts: IngestParts, tenant: str, below: str = "") -> list[str]:
    prefix = f"documents/{tenant}/{below}"
    found = await differences.missed(tenant, prefix, bucket=parts.bucket, registry=parts.registry, recipe=parts.recipe)
    return [f"{difference.key.removeprefix(f'documents/{tenant}/')} {difference.what}" for difference in found]


async def test_backfill_finds_what_was_not_read_at_its_present_version(
    bucket: FolderBucket, parts: IngestParts, tenant: str
) -> None:
    keys = await filled(bucket, parts, tenant)
    assert await missed(parts, tenant) == []
    bucket.put(f"documents/{tenant}/new.txt", b"new")
    bucket.put(keys[0].key, b"changed")
    bucket.put(keys[1].sidecar, b'{"tags": ["x"]}')
    del bucket.files[keys[2].key]
    assert await missed(parts, tenant) == [
        "a.txt has changed since it was read",
        "b.txt has changed since it was read",
        "new.txt is in the bucket, but not in the registry",
        "sub/c.txt is in the registry, but no longer in the bucket",
    ]
    assert await missed(parts, tenant, "sub/") == ["sub/c.txt is in the registry, but no longer in the bucket"]
    again = replace(parts, recipe="another")
    assert "d.txt was read by another version of the pipeline" in await missed(again, tenant)
    found = await differences.verify(tenant, parts)
    await look_again([difference.key for difference in found], parts, queue=parts.queue)
    assert await differences.verify(tenant, parts) == []


async def test_verify_finds_what_the_store_lacks_or_has_too_much_and_mends_it(
    bucket: FolderBucket, parts: IngestParts, tenant: str
) -> None:
    lacking, labelled, deleted, _ = await filled(bucket, parts, tenant)
    await parts.store.retire(lacking, before=1 << 62)
    document = await parts.registry.get(labelled)
    assert document is not None
    assert document.generation is not None
    for key, generation, groups in (
        (labelled, document.generation, ("hr",)),
        (deleted, OLD, ()),
        (DocumentKey(f"documents/{tenant}/never.txt"), OLD, ()),
    ):
        chunk = Chunk(key.key, generation, 0, "stray", groups=groups, total=1)
        (vector,) = await parts.embedder.embed([chunk.text_to_embed])
        await parts.store.upsert([EmbeddedChunk(chunk, vector)])
    found = await differences.verify(tenant, parts)
    assert [(DocumentKey(d.key).name, d.what) for d in found] == [
        ("a.txt", "has 0 of its 1 chunks in the store"),
        ("b.txt", "has chunks in the store with other groups or tags"),
        ("never.txt", "has 1 chunks in the store that are of no current version"),
        ("sub/c.txt", "has 1 chunks in the store that are of no current version"),
    ]
    await differences.repair(found, parts)
    assert await differences.verify(tenant, parts) == []
    assert await parts.store.count(tenant) == 4


async def test_an_attempt_that_is_at_work_is_no_difference(
    bucket: FolderBucket, parts: IngestParts, tenant: str
) -> None:
    (key, *_) = await filled(bucket, parts, tenant)
    attempt = await parts.registry.begin(key, embedding_model=parts.embedder.model)
    chunk = Chunk(key.key, attempt.number, 0, "on its way", total=9)
    (vector,) = await parts.embedder.embed([chunk.text_to_embed])
    await parts.store.upsert([EmbeddedChunk(chunk, vector)])
    assert await differences.verify(tenant, parts) == []


async def test_verify_touches_nothing_while_the_registry_is_lost(
    bucket: FolderBucket, parts: IngestParts, tenant: str
) -> None:
    await filled(bucket, parts, tenant)
    await parts.registry.distrust(tenant)
    with pytest.raises(UnavailableError, match="make rebuild"):
        await differences.verify(tenant, parts)
