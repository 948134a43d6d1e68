"""Whoever asks, whatever changes: nothing is shown to a principal who may not see it."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import replace

import pytest

from headrace.protocols import VectorSearch, VectorStore
from headrace.redis_state.registry import RedisRegistry
from headrace.retrieval.retriever import RetrievalOptions, Retriever
from headrace.types import Chunk, ChunkId, Document, DocumentKey, DocumentState, Scope, SearchRequest, SearchResult
from tests.support.chunks import DIMENSIONS, chunks
from tests.support.embedders import HashEmbedder
from tests.support.library import Library
from tests.support.scale import tries

GROUPS = ("hr", "ops", "board", "*", "=hr", "HR", "hr,ops", "")
DOCUMENTS = 24
QUERIES = tries(4_000, 30_000)


class World:
    """Two tenants' documents, who may see them now, and a retriever."""

    def __init__(self, store: VectorStore, registry: RedisRegistry, tenant: str, seed: int) -> None:
        self.generator = random.Random(seed)
        self.tenants = (tenant, f"{tenant}-2")
        self.store = store
        self.registry = registry
        self.embedder = HashEmbedder()
        self.readers: dict[str, tuple[str, ...]] = {}
        options = RetrievalOptions(limit=2 * DOCUMENTS, min_similarity=-2.0)
        self.retriever = Retriever(embedder=self.embedder, store=store, registry=registry, options=options)

    def groups(self) -> tuple[str, ...]:
        return tuple(sorted(self.generator.sample(GROUPS[:-1], self.generator.choice((0, 0, 1, 1, 2, 3)))))

    async def put(self, name: str) -> None:
        tenant = self.generator.choice(self.tenants)
        groups = self.groups()
        library = Library(tenant, self.embedder, self.store, self.registry)
        key = await library.put(name, f"{tenant} {name} {self.generator.getrandbits(64):x}", groups=groups)
        self.readers[key] = groups

    async def revoke(self) -> None:
        """Narrow who may see a document, in the registry alone: the store still says what it said."""
        key = self.generator.choice(sorted(self.readers))
        kept = tuple(group for group in self.readers[key] if self.generator.random() < 0.5)
        if not kept:
            return
        await self._save(key, kept)
        self.readers[key] = kept

    async def _save(self, key: str, groups: tuple[str, ...]) -> None:
        known = await self.registry.get(DocumentKey(key))
        assert known is not None
        attempt = await self.registry.begin(DocumentKey(key), embedding_model=self.embedder.model)
        document = Document(key, DocumentState.READY, generation=known.generation, chunks=known.chunks, groups=groups)
        await self.registry.save(document, attempt)

    async def ask(self) -> int:
        """One question of a random principal; gives how many documents were rightly hidden."""
        scope = Scope(
            self.generator.choice(self.tenants), frozenset(self.generator.sample(GROUPS, self.generator.randrange(4)))
        )
        found = (await self.retriever.retrieve("anything", scope=scope)).passages
        seen = {passage.chunk.document_key for passage in found}
        mine = {key for key in self.readers if DocumentKey(key).tenant == scope.tenant}
        allowed = {key for key in mine if not self.readers[key] or scope.groups & set(self.readers[key])}
        assert seen == allowed, (scope, seen ^ allowed)
        return len(self.readers) - len(allowed)


async def test_random_users_groups_documents_and_revocations_leak_nothing(
    calm_store: VectorStore, registry: RedisRegistry, tenant: str
) -> None:
    world = World(calm_store, registry, tenant, seed=5)
    hidden = 0
    for number in range(DOCUMENTS):
        await world.put(f"d{number}")
    for step in range(QUERIES):
        if step % 50 == 0:
            await world.put(f"d{world.generator.randrange(DOCUMENTS)}")
        if step % 10 == 0:
            await world.revoke()
        hidden += await world.ask()
    assert hidden > QUERIES, "most questions must have something to be kept from"


class Gossip:
    """A store that filters nothing, for the check after it."""

    def __init__(self, store: VectorSearch, everything: Scope) -> None:
        self._store = store
        self._everything = everything

    async def check(self) -> None:
        """Always ready."""

    async def chunks(self, tenant: str, identities: Collection[ChunkId]) -> list[Chunk]:
        return await self._store.chunks(tenant, identities)

    async def search(self, request: SearchRequest) -> SearchResult:
        return await self._store.search(replace(request, scope=self._everything, filter={}))


@pytest.mark.parametrize("calm_store", ["embedded"], indirect=True)
async def test_what_a_store_fails_to_filter_is_kept_back_after_it(
    calm_store: VectorStore, registry: RedisRegistry, tenant: str
) -> None:
    library = Library(tenant, HashEmbedder(), calm_store, registry)
    for name, groups in (("open", ()), ("secret", ("hr",))):
        await library.put(name, f"the word of {name}", groups=groups)
    gossip = Gossip(calm_store, Scope(tenant, frozenset({"hr"})))
    options = RetrievalOptions(min_similarity=-2.0)
    retriever = Retriever(embedder=HashEmbedder(), store=gossip, registry=registry, options=options)

    async def seen(scope: Scope, **filter_: str) -> set[str]:
        found = await retriever.retrieve("word", scope=scope, filter_=filter_)
        return {p.chunk.name for p in found.passages}

    assert await seen(Scope(tenant, frozenset({"hr"}))) == {"open", "secret"}
    assert await seen(Scope(tenant)) == {"open"}
    assert await seen(Scope(f"{tenant}x", frozenset({"hr"}))) == set()
    assert await seen(Scope(tenant, frozenset({"hr"})), name="secret") == {"secret"}


@pytest.mark.parametrize("calm_store", ["embedded"], indirect=True)
async def test_a_store_that_answers_with_another_tenants_chunk_is_not_believed(
    calm_store: VectorStore, registry: RedisRegistry, tenant: str
) -> None:
    victim = f"{tenant}-victim"
    await Library(victim, HashEmbedder(), calm_store, registry).put("a.txt", "secret")
    await calm_store.ensure(DIMENSIONS)
    await calm_store.upsert(chunks(tenant))
    gossip = Gossip(calm_store, Scope(victim))
    await registry.begin(DocumentKey(f"documents/{tenant}/x"), embedding_model="hash")
    await registry.open_epoch(tenant)
    retriever = Retriever(
        embedder=HashEmbedder(),
        store=gossip,
        registry=registry,
        options=RetrievalOptions(min_similarity=-2.0),
    )
    assert (await retriever.retrieve("secret", scope=Scope(tenant))).passages == ()
