"""Another embedding model: refused until `make reindex` has filled a collection beside the old one."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from functions.ingest.dependencies import IngestDependencies
from functions.ingest.pipeline import synchronise
from functions.ingest.reindex import ReindexDependencies, reindex
from headrace.errors import ConfigurationError, EmbedderUnavailableError, IndexMismatchError
from headrace.protocols import DocumentRegistry
from headrace.retrieval.retriever import RetrievalOptions, Retriever
from headrace.settings import Settings
from headrace.stores.edge import open_embedded_store
from headrace.types import DocumentKey, Scope
from headrace.wiring import collection_of
from tests.support.embedders import HashEmbedder
from tests.support.ingest import FolderBucket


@pytest.fixture
async def deps(
    ingest_deps: IngestDependencies, stack: AsyncExitStack, tmp_path: Path
) -> tuple[IngestDependencies, IngestDependencies]:
    """Ingest with the old model, and with the new one."""
    made = []
    for model in ("old", "new"):
        opening = open_embedded_store(tmp_path / model, collection=uuid.uuid4().hex)
        store = await stack.enter_async_context(opening)
        made.append(replace(ingest_deps, embedder=HashEmbedder(model), store=store))
    return made[0], made[1]


def moving(
    old: IngestDependencies, new: IngestDependencies, registry: DocumentRegistry | None = None
) -> ReindexDependencies:
    return ReindexDependencies(old.store, new.store, new.embedder, registry or new.registry)


async def found(deps: IngestDependencies, tenant: str) -> set[str]:
    options = RetrievalOptions(limit=20, min_similarity=-2.0)
    retriever = Retriever(embedder=deps.embedder, store=deps.store, registry=deps.registry, options=options)
    return {passage.chunk.text for passage in (await retriever.retrieve("q", scope=Scope(tenant))).passages}


async def put(bucket: FolderBucket, deps: IngestDependencies, tenant: str, name: str, text: str) -> None:
    key = DocumentKey(f"documents/{tenant}/{name}")
    bucket.put(key.key, text.encode())
    await synchronise(key, deps)


async def test_the_model_is_refused_then_moved_to_without_reading_a_file(
    bucket: FolderBucket, deps: tuple[IngestDependencies, IngestDependencies], tenant: str
) -> None:
    old, new = deps
    for name in "abc":
        await put(bucket, old, tenant, name, f"text {name}")
    texts = {f"text {name}" for name in "abc"}
    for action in (found(new, tenant), put(bucket, new, tenant, "a", "text a")):
        with pytest.raises(IndexMismatchError, match="make reindex"):
            await action
    said: list[str] = []
    assert await reindex(tenant, moving(old, new), report_progress=said.append) == 3
    assert "switched to new" in said[-1]
    assert await found(new, tenant) == texts
    with pytest.raises(IndexMismatchError):
        await found(old, tenant)
    await put(bucket, new, tenant, "a", "text a2")
    assert await found(new, tenant) == texts - {"text a"} | {"text a2"}


async def test_what_changes_while_it_is_copied_is_copied_once_more(
    bucket: FolderBucket, deps: tuple[IngestDependencies, IngestDependencies], tenant: str
) -> None:
    old, new = deps

    class Busy(HashEmbedder):
        """While it embeds, a document changes, another comes and a third goes."""

        async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
            if self.texts == 0:
                await put(bucket, old, tenant, "a", "text a2")
                await put(bucket, old, tenant, "new", "text new")
                del bucket.files[f"documents/{tenant}/b"]
                await synchronise(DocumentKey(f"documents/{tenant}/b"), old)
            return await super().embed(texts)

    for name in "abc":
        await put(bucket, old, tenant, name, f"text {name}")
    await reindex(tenant, replace(moving(old, new), embedder=Busy("new")), report_progress=lambda _: None)
    assert await found(new, tenant) == {"text a2", "text new", "text c"}
    assert await new.store.count(tenant) == 3, "nothing that was copied in vain stays behind"


async def test_a_run_that_was_broken_off_is_gone_on_with(
    bucket: FolderBucket,
    deps: tuple[IngestDependencies, IngestDependencies],
    tenant: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old, new = deps
    monkeypatch.setattr("functions.ingest.reindex.BATCH", 2)

    class Tired(HashEmbedder):
        async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
            if self.texts >= 2:
                raise EmbedderUnavailableError("The embedding model does not answer.")
            return await super().embed(texts)

    for name in "abcde":
        await put(bucket, old, tenant, name, f"text {name}")
    with pytest.raises(EmbedderUnavailableError):
        await reindex(tenant, replace(moving(old, new), embedder=Tired("new")), report_progress=lambda _: None)
    assert len(await found(old, tenant)) == 5, "searches go on with the old model"
    assert await reindex(tenant, moving(old, new), report_progress=lambda _: None) == 3
    assert len(await found(new, tenant)) == 5


async def test_nothing_is_switched_while_the_old_collection_lacks_what_is_current(
    bucket: FolderBucket, deps: tuple[IngestDependencies, IngestDependencies], tenant: str
) -> None:
    old, new = deps
    await put(bucket, old, tenant, "a", "text a")
    await old.store.drop()
    with pytest.raises(ConfigurationError, match="make rebuild"):
        await reindex(tenant, moving(old, new), report_progress=lambda _: None)
    assert (await old.registry.snapshot(tenant)).embedding_model == "old"


def test_models_that_are_spelt_alike_have_collections_of_their_own() -> None:
    names = ("BAAI/bge-m3", "baai/bge_m3", "baai-bge-m3")
    assert len({collection_of(Settings(embedding_model=name)) for name in names}) == 3
