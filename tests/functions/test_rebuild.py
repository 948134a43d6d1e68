"""A registry that was lost is made whole from bucket and store; until then nothing unchecked is served."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from functions.cache_maintenance.documents import DocumentDependencies, maintain_documents
from functions.ingest.dependencies import IngestDependencies
from functions.ingest.main import handle_batch
from functions.ingest.pipeline import synchronise
from functions.ingest.rebuild import rebuild
from headrace.clients.redis import tenant_key
from headrace.errors import BucketUnavailableError, EmbedderUnavailableError, RegistryUnavailableError
from headrace.queues.messages import object_changed
from headrace.retrieval.retriever import RetrievalOptions, Retriever
from headrace.types import (
    ABANDONED_SECONDS,
    Attempt,
    Chunk,
    Document,
    DocumentKey,
    DocumentState,
    EmbeddedChunk,
    ObjectVersion,
    Scope,
)
from tests.support.embedders import HashEmbedder
from tests.support.ingest import FolderBucket
from tests.support.list_queue import ListQueue


@pytest.fixture
def deps(ingest_deps: IngestDependencies) -> IngestDependencies:
    return replace(ingest_deps, embedder=HashEmbedder(), queue=ListQueue())


def keys(tenant: str, *names: str) -> list[DocumentKey]:
    return [DocumentKey(f"documents/{tenant}/{name}") for name in names]


async def names_found(deps: IngestDependencies, tenant: str) -> set[str]:
    options = RetrievalOptions(limit=20, min_similarity=-2.0)
    retriever = Retriever(embedder=deps.embedder, store=deps.store, registry=deps.registry, options=options)
    found = await retriever.retrieve("q", scope=Scope(tenant, frozenset({"hr"})))
    return {passage.chunk.name for passage in found.passages}


async def filled(bucket: FolderBucket, deps: IngestDependencies, tenant: str) -> None:
    for key, groups in zip(keys(tenant, "a.txt", "b.txt", "c.txt", "bad.txt"), ((), ("hr",), (), ()), strict=True):
        content = b"! no" if key.name == "bad.txt" else f"text of {key.name}".encode()
        bucket.put(key.key, content, groups=groups)
        await synchronise(key, deps)


async def test_a_lost_registry_is_rebuilt_without_embedding_what_the_store_has(
    bucket: FolderBucket, deps: IngestDependencies, redis: Redis, tenant: str
) -> None:
    await filled(bucket, deps, tenant)
    before = {document.key: document for document in await deps.registry.documents(tenant)}
    await redis.delete(tenant_key(tenant, "registry"))
    bucket.put(f"documents/{tenant}/c.txt", b"changed meanwhile")
    del bucket.files[f"documents/{tenant}/a.txt"]
    with pytest.raises(RegistryUnavailableError):
        await names_found(deps, tenant)
    embedded = deps.embedder.texts  # type: ignore[attr-defined]
    report = await rebuild(tenant, deps, queue=None, report_progress=lambda _: None)
    assert (report.recovered, report.read_anew) == (1, 3)
    assert deps.embedder.texts == embedded + 1, "only what has changed"  # type: ignore[attr-defined]
    after = {document.key: document for document in await deps.registry.documents(tenant)}
    assert {DocumentKey(key).name: document.state.value for key, document in after.items()} == {
        "b.txt": "ready", "c.txt": "ready", "bad.txt": "failed",
    }  # fmt: skip
    kept = f"documents/{tenant}/b.txt"
    same = ("generation", "chunks", "groups", "etag", "state", "pipeline")
    assert [getattr(after[kept], name) for name in same] == [getattr(before[kept], name) for name in same]
    assert await names_found(deps, tenant) == {"b.txt", "c.txt"}
    assert await deps.store.count(tenant) == 2


async def test_half_a_generation_is_not_taken_for_a_document(
    bucket: FolderBucket, deps: IngestDependencies, redis: Redis, tenant: str
) -> None:
    [key] = keys(tenant, "a.txt")
    bucket.put(key.key, "\n".join(f"{i} {'x' * 800}" for i in range(3)).encode())
    await synchronise(key, deps)
    chunks = [chunk async for chunk in deps.store.scan(tenant)]
    await deps.store.delete_older(key, before=2**52)
    [vector] = await deps.embedder.embed([chunks[0].text])
    await deps.store.upsert([EmbeddedChunk(chunks[0], vector)])
    await redis.delete(tenant_key(tenant, "registry"))
    report = await rebuild(tenant, deps, queue=None, report_progress=lambda _: None)
    assert (report.recovered, report.read_anew) == (0, 1)
    assert await deps.store.count(tenant) == 3


async def test_maintenance_notices_the_loss_and_ingest_mends_it(
    bucket: FolderBucket, deps: IngestDependencies, redis: Redis, tenant: str
) -> None:
    queue = deps.queue
    assert isinstance(queue, ListQueue)
    await filled(bucket, deps, tenant)
    maintenance = DocumentDependencies(deps.registry, bucket, queue)
    assert tenant not in (await maintain_documents(maintenance))["rebuilding"]
    queue.bodies.clear()
    await redis.delete(tenant_key(tenant, "registry"))
    await redis.srem("headrace:tenants", tenant)
    bucket.put(f"documents/{tenant}/a.txt", b"changed meanwhile")
    assert tenant in (await maintain_documents(maintenance))["rebuilding"]
    queue.bodies = [body for body in queue.bodies if tenant in body]
    assert json.loads(queue.bodies[0]) == {"headrace": {"rebuild": tenant}}
    assert await handle_batch(queue.batch(), deps) == {"batchItemFailures": []}
    assert await names_found(deps, tenant) == {"b.txt", "c.txt"}, "what has changed is not shown as it was"
    assert await handle_batch(queue.batch(), deps) == {"batchItemFailures": []}
    assert await names_found(deps, tenant) == {"a.txt", "b.txt", "c.txt"}
    assert tenant not in (await maintain_documents(maintenance))["rebuilding"]


async def test_events_that_come_before_the_rebuild_do_not_pass_for_it(
    bucket: FolderBucket, deps: IngestDependencies, redis: Redis, tenant: str
) -> None:
    await filled(bucket, deps, tenant)
    await redis.delete(tenant_key(tenant, "registry"))
    await synchronise(keys(tenant, "a.txt")[0], deps)
    with pytest.raises(RegistryUnavailableError):
        await names_found(deps, tenant)
    await rebuild(tenant, deps, queue=None, report_progress=lambda _: None)
    assert await names_found(deps, tenant) == {"a.txt", "b.txt", "c.txt"}


async def test_readers_are_what_folder_and_metadata_both_say(
    bucket: FolderBucket, deps: IngestDependencies, tenant: str
) -> None:
    cases = {
        "plain.txt": ((), ()),
        "meta.txt": (("hr",), ("hr",)),
        "groups=hr,ops/folder.txt": ((), ("hr", "ops")),
        "groups=hr,ops/narrow.txt": (("ops", "else"), ("ops",)),
        "groups=hr/groups=ops/inner.txt": ((), ("ops",)),
    }
    for name, (given, expected) in cases.items():
        [key] = keys(tenant, name)
        bucket.put(key.key, b"text", groups=given)
        await synchronise(key, deps)
        document = await deps.registry.get(key)
        assert document is not None
        assert (document.state, document.groups) == (DocumentState.READY, expected), name
    for name, given in (("groups=hr/none.txt", ("ops",)), ("groups=/empty.txt", ())):
        [key] = keys(tenant, name)
        bucket.put(key.key, b"text", groups=given)
        await synchronise(key, deps)
        document = await deps.registry.get(key)
        assert document is not None
        assert document.state == DocumentState.FAILED
        assert "Nobody may see" in document.reason


async def test_whoever_loses_a_document_loses_its_old_version_at_once(
    bucket: FolderBucket, deps: IngestDependencies, tenant: str
) -> None:
    [key] = keys(tenant, "a.txt")

    class Watching(HashEmbedder):
        """Looks at what is shown while the new version is embedded."""

        seen: tuple[str, ...] | None = None

        async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
            shown = (await deps.registry.snapshot(tenant, [key.key])).current.get(key.key)
            self.seen = shown[1] if shown else None
            return await super().embed(texts)

    expected = [
        ((), None),
        (("hr", "ops"), ("hr", "ops")),
        (("ops",), ("ops",)),
        ((), ("ops",)),  # wider: the old version stays with those who had it
        (("hr",), ("hr",)),
        (("ops",), None),  # nobody in common: nothing of the old version is shown
    ]
    for number, (groups, shown) in enumerate(expected):
        watching = Watching()
        bucket.put(key.key, f"text {number}".encode(), groups=groups)
        await synchronise(key, replace(deps, embedder=watching))
        assert watching.seen == shown, number
        document = await deps.registry.get(key)
        assert document is not None
        assert document.groups == groups


async def test_registry_and_store_lost_together_are_not_taken_for_a_new_tenant(
    bucket: FolderBucket, deps: IngestDependencies, redis: Redis, tenant: str
) -> None:
    await filled(bucket, deps, tenant)
    for key in bucket.modified_at:
        bucket.modified_at[key] -= 3600
    await deps.store.drop()
    await redis.delete(tenant_key(tenant, "registry"))
    new = DocumentKey(f"documents/{tenant}/new.txt")
    bucket.put(new.key, b"text of new.txt")
    await synchronise(new, deps)
    with pytest.raises(RegistryUnavailableError):
        await names_found(deps, tenant)
    await rebuild(tenant, deps, queue=None, report_progress=lambda _: None)
    assert await names_found(deps, tenant) == {"a.txt", "b.txt", "c.txt", "new.txt"}


async def test_chunks_that_a_store_has_lost_are_made_anew(
    bucket: FolderBucket, deps: IngestDependencies, tenant: str
) -> None:
    await filled(bucket, deps, tenant)
    await deps.store.drop()
    assert await names_found(deps, tenant) == set()
    report = await rebuild(tenant, deps, queue=None, report_progress=lambda _: None)
    assert (report.recovered, report.read_anew) == (1, 3), "the unreadable file has nothing to lose"
    assert await names_found(deps, tenant) == {"a.txt", "b.txt", "c.txt"}


async def test_what_changes_behind_a_rebuilds_back_is_not_brought_back(
    bucket: FolderBucket, deps: IngestDependencies, redis: Redis, tenant: str
) -> None:
    """While the store is scanned, a document gets a new generation, and the one that was scanned is retired."""
    [key] = keys(tenant, "a.txt")
    bucket.put(key.key, b"text")
    await synchronise(key, deps)

    class Overtaken:
        def __getattr__(self, name: str) -> object:
            return getattr(deps.store, name)

        async def scan(self, tenant: str) -> AsyncIterator[Chunk]:
            chunks = [chunk async for chunk in deps.store.scan(tenant)]
            await redis.delete(tenant_key(tenant, "registry"))
            await synchronise(key, deps)
            for chunk in chunks:
                yield chunk

    await rebuild(tenant, replace(deps, store=Overtaken()), queue=None, report_progress=lambda _: None)  # type: ignore[arg-type]
    assert await names_found(deps, tenant) == {"a.txt"}


async def test_a_narrowing_that_is_taken_back_leaves_the_document_open(
    bucket: FolderBucket, deps: IngestDependencies, tenant: str
) -> None:
    [key] = keys(tenant, "a.txt")
    bucket.put(key.key, b"first")
    await synchronise(key, deps)
    bucket.put(key.key, b"second", groups=("hr",))

    class Down(HashEmbedder):
        async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
            raise EmbedderUnavailableError("The embedding model does not answer.")

    with pytest.raises(EmbedderUnavailableError):
        await synchronise(key, replace(deps, embedder=Down()))
    document = await deps.registry.get(key)
    assert document is not None
    assert document.groups == ("hr",)
    bucket.put(key.key, b"first")
    await synchronise(key, deps)
    document = await deps.registry.get(key)
    assert document is not None
    assert (document.state, document.groups) == (DocumentState.READY, ())


async def test_an_old_version_stays_when_the_new_one_is_given_up(
    bucket: FolderBucket, deps: IngestDependencies, tenant: str
) -> None:
    [key] = keys(tenant, "a.txt")
    bucket.put(key.key, b"first")
    await synchronise(key, deps)
    bucket.put(key.key, b"second")

    class Down(HashEmbedder):
        async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
            raise EmbedderUnavailableError("The embedding model does not answer.")

    with pytest.raises(EmbedderUnavailableError):
        await synchronise(key, replace(deps, embedder=Down()), last_try=True)
    document = await deps.registry.get(key)
    assert document is not None
    assert (document.state, "Given up" in document.reason) == (DocumentState.FAILED, True)
    assert await names_found(deps, tenant) == {"a.txt"}


async def test_a_name_is_not_told_before_its_readers_are_known(
    bucket: FolderBucket, deps: IngestDependencies, tenant: str
) -> None:
    class GoneBucket(FolderBucket):
        async def head(self, key: str) -> ObjectVersion | None:
            raise BucketUnavailableError("The bucket does not answer.")

    [key] = keys(tenant, "groups=board/layoffs.txt")
    with pytest.raises(BucketUnavailableError):
        await synchronise(key, replace(deps, bucket=GoneBucket()))
    document = await deps.registry.get(key)
    assert document is not None
    assert not Scope(tenant, frozenset({"hr"})).may_see(document.groups)


async def test_maintenance_has_abandoned_documents_looked_at_again(
    bucket: FolderBucket, deps: IngestDependencies, tenant: str
) -> None:
    abandoned, young, done = keys(tenant, "abandoned.txt", "young.txt", "done.txt")
    states = {abandoned: DocumentState.EMBEDDING, young: DocumentState.EMBEDDING, done: DocumentState.READY}
    for key, state in states.items():
        updated_at = time.time() - (ABANDONED_SECONDS + 60 if key != young else 60)
        attempt = await deps.registry.begin(key, embedding_model="hash")
        await deps.registry.save(Document(key.key, state, chunks=1, updated_at=updated_at), attempt)
    queue = ListQueue()
    report = await maintain_documents(DocumentDependencies(deps.registry, bucket, queue))
    sent = queue.bodies
    assert [key for key in report["abandoned"] if tenant in key] == [abandoned.key]
    assert [body for body in sent if tenant in body and "headrace" not in body] == [object_changed(abandoned.key)]


async def test_a_removal_that_was_sent_twice_still_erases_the_chunks(
    bucket: FolderBucket, deps: IngestDependencies, tenant: str
) -> None:
    class Twice:
        """A registry whose reply to a removal is lost, so that the client sends it again."""

        def __getattr__(self, name: str) -> object:
            return getattr(deps.registry, name)

        async def remove(self, attempt: Attempt) -> None:
            await deps.registry.remove(attempt)
            await deps.registry.remove(attempt)

    [key] = keys(tenant, "a.txt")
    bucket.put(key.key, b"text")
    await synchronise(key, deps)
    del bucket.files[key.key]
    await synchronise(key, replace(deps, registry=Twice()))  # type: ignore[arg-type]
    assert await deps.store.count(tenant) == 0
