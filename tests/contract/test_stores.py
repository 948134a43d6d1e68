"""What every vector store promises."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest

from headrace.errors import ConfigurationError, StoreUnavailableError
from headrace.protocols import VectorStore
from headrace.stores.qdrant import open_qdrant_store
from headrace.types import Chunk, DocumentKey, EmbeddedChunk, Scope, SearchRequest
from infra.local.processes import free_port

DIMENSIONS = 16


@pytest.fixture(params=["qdrant"])
def any_store(request: pytest.FixtureRequest) -> VectorStore:
    store: VectorStore = {"qdrant": request.getfixturevalue("store")}[request.param]
    return store


def vector(seed: object) -> Sequence[float]:
    generator = random.Random(str(seed))
    values = [generator.gauss(0, 1) for _ in range(DIMENSIONS)]
    length = math.sqrt(sum(x * x for x in values))
    return [x / length for x in values]


def chunks(tenant: str, name: str = "a.txt", *, generation: int = 1, count: int = 3) -> list[EmbeddedChunk]:
    key = f"documents/{tenant}/{name}"
    made = [
        Chunk(key, generation, i, f"text {i} of {name} {generation}", page=i + 1, section=("Top", f"Part {i}"))
        for i in range(count)
    ]
    return [EmbeddedChunk(chunk, vector(chunk.text)) for chunk in made]


def request(tenant: str, near: object, *, limit: int = 5, **filter_: Any) -> SearchRequest:
    return SearchRequest(Scope(tenant), [vector(near)], limit, filter_)


async def test_a_search_before_any_document_finds_nothing(any_store: VectorStore, tenant: str) -> None:
    assert await any_store.search(request(tenant, "x")) == []
    assert await any_store.count(tenant) == 0


async def test_a_chunk_comes_back_whole_with_its_cosine_as_score(any_store: VectorStore, tenant: str) -> None:
    await any_store.ensure(DIMENSIONS)
    made = chunks(tenant)
    await any_store.upsert(made)
    best, *rest = await any_store.search(request(tenant, "text 1 of a.txt 1"))
    assert best.chunk == made[1].chunk
    assert best.score == pytest.approx(1.0, abs=1e-4)
    assert len(rest) == 2
    expected = sum(a * b for a, b in zip(vector("text 1 of a.txt 1"), vector(rest[0].chunk.text), strict=True))
    assert rest[0].score == pytest.approx(expected, abs=1e-4)


async def test_several_question_vectors_keep_each_passage_once_with_its_best_score(
    any_store: VectorStore, tenant: str
) -> None:
    await any_store.ensure(DIMENSIONS)
    await any_store.upsert(chunks(tenant))
    near = [vector("text 0 of a.txt 1"), vector("text 2 of a.txt 1")]
    found = await any_store.search(SearchRequest(Scope(tenant), near, 2))
    assert [p.chunk.index for p in found] == [0, 2]


async def test_writing_the_same_chunks_twice_leaves_them_once(any_store: VectorStore, tenant: str) -> None:
    await any_store.ensure(DIMENSIONS)
    for _ in range(2):
        await any_store.upsert(chunks(tenant, count=130))
    assert await any_store.count(tenant) == 130


async def test_nothing_crosses_from_one_tenant_to_another(any_store: VectorStore, tenant: str) -> None:
    await any_store.ensure(DIMENSIONS)
    await any_store.upsert(chunks(tenant))
    stranger = f"{tenant}-not"
    assert await any_store.search(request(stranger, "text 1 of a.txt 1")) == []
    await any_store.retire(DocumentKey(f"documents/{stranger}/a.txt"), before=99)
    assert await any_store.count(tenant) == 3


async def test_retiring_takes_the_older_generations_of_one_document(any_store: VectorStore, tenant: str) -> None:
    await any_store.ensure(DIMENSIONS)
    latest = 1_795_000_000_000_000
    for made in (chunks(tenant), chunks(tenant, generation=latest, count=4), chunks(tenant, "b.txt")):
        await any_store.upsert(made)
    key = DocumentKey(f"documents/{tenant}/a.txt")
    await any_store.retire(key, before=latest)
    assert await any_store.count(tenant, document_key=key.key) == 4
    await any_store.retire(key, before=latest + 1)
    assert await any_store.count(tenant, document_key=key.key) == 0
    assert await any_store.count(tenant) == 3


async def test_discarding_takes_one_generation_alone(any_store: VectorStore, tenant: str) -> None:
    await any_store.ensure(DIMENSIONS)
    for generation in (5, 6, 7):
        await any_store.upsert(chunks(tenant, generation=generation))
    await any_store.discard(DocumentKey(f"documents/{tenant}/a.txt"), generation=6)
    found = await any_store.search(request(tenant, "x", limit=20))
    assert {p.chunk.generation for p in found} == {5, 7}


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ({"page": 2}, {1}),
        ({"page": {"$gte": 2}}, {1, 2}),
        ({"page": {"$gt": 1, "$lt": 3}}, {1}),
        ({"page": {"$ne": 2}}, {0, 2}),
        ({"page": {"$in": [1, 3]}}, {0, 2}),
        ({"page": {"$nin": [1, 3]}}, {1}),
        ({"section": "Part 2"}, {2}),
        ({"section": {"$ne": "Part 2"}}, {0, 1}),
        ({"page": {"$exists": False}}, set()),
        ({"$or": [{"page": 1}, {"section": "Part 1"}]}, {0, 1}),
        ({"$and": [{"page": {"$lte": 2}}, {"section": "Top"}]}, {0, 1}),
        ({"name": "b.txt"}, set()),
    ],
)
async def test_a_filter_keeps_what_it_says(
    any_store: VectorStore, tenant: str, filter_: dict[str, Any], expected: set[int]
) -> None:
    await any_store.ensure(DIMENSIONS)
    await any_store.upsert(chunks(tenant))
    found = await any_store.search(request(tenant, "x", **filter_))
    assert {p.chunk.index for p in found} == expected


async def test_ties_come_in_the_order_of_the_documents(any_store: VectorStore, tenant: str) -> None:
    await any_store.ensure(DIMENSIONS)
    same = [
        EmbeddedChunk(Chunk(f"documents/{tenant}/{name}", 1, i, "same"), vector("same"))
        for name in ("b", "a")
        for i in (1, 0)
    ]
    await any_store.upsert(same)
    found = await any_store.search(request(tenant, "same"))
    assert [(p.chunk.name, p.chunk.index) for p in found] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


async def test_another_dimension_is_refused_with_what_to_do(any_store: VectorStore) -> None:
    await any_store.ensure(DIMENSIONS)
    await any_store.ensure(DIMENSIONS)
    with pytest.raises(ConfigurationError, match="COLLECTION_PREFIX"):
        await any_store.ensure(DIMENSIONS + 1)


async def test_a_server_that_is_gone_is_unavailable() -> None:
    async with open_qdrant_store(f"http://127.0.0.1:{free_port()}", api_key="", collection="c") as store:
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            await store.check()
