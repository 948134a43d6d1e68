"""What every vector store promises."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from headrace.errors import ConfigurationError, StoreUnavailableError
from headrace.protocols import VectorStore
from headrace.ranking import with_similarity
from headrace.stores.pinecone import PineconeRegion, open_pinecone_store
from headrace.stores.qdrant import open_qdrant_store
from headrace.stores.redis import open_redis_store
from headrace.text.lexical import overlap
from headrace.types import Chunk, ChunkId, DocumentKey, EmbeddedChunk, Query, Scope, SearchRequest
from infra.local.processes import free_port
from tests.support.chunks import DIMENSIONS, ask, chunks, cosine, embedded, vector
from tests.support.faults import Faults


async def indexes(store: VectorStore, request: SearchRequest) -> list[int]:
    return [passage.chunk.index for passage in (await store.search(request)).passages]


async def test_before_any_document_there_is_nothing(any_store: VectorStore, tenant: str) -> None:
    await any_store.check()
    assert (await any_store.search(ask(tenant, "x"))).passages == ()
    assert await any_store.count(tenant) == 0
    assert await any_store.chunks(tenant, [ChunkId(f"documents/{tenant}/a", 1, 0)]) == []
    assert [chunk async for chunk in any_store.scan(tenant)] == []
    await any_store.delete_older(DocumentKey(f"documents/{tenant}/a"), before=9)
    await any_store.drop()


async def test_a_chunk_comes_back_whole_with_its_cosine(any_store: VectorStore, tenant: str) -> None:
    await any_store.ensure(DIMENSIONS)
    made = chunks(tenant, groups=("hr", "ops"))
    await any_store.upsert(made)
    best, *rest = (await any_store.search(ask(tenant, "text 1 of a.txt 1", groups=["ops"]))).passages
    assert best.chunk == made[1].chunk
    assert best.score == best.similarity == pytest.approx(1.0, abs=1e-4)
    assert len(rest) == 2
    assert rest[0].similarity == pytest.approx(
        cosine(vector("text 1 of a.txt 1"), vector(rest[0].chunk.text)), abs=1e-4
    )


async def test_a_score_blends_similarity_and_words_and_is_the_same_everywhere(
    any_store: VectorStore, tenant: str
) -> None:
    await any_store.ensure(DIMENSIONS)
    texts = ["the gasket of pump X-4711 leaks", "a gasket is a seal", "bread and butter", "pump pump pump", "nothing"]
    made = [embedded(Chunk(f"documents/{tenant}/a", 1, i, text)) for i, text in enumerate(texts)]
    await any_store.upsert(made)
    question = "which gasket for X-4711?"
    found = (await any_store.search(ask(tenant, question, dense_weight=0.6))).passages
    expected = {
        i: 0.6 * cosine(vector(question), part.vector) + 0.4 * overlap(question, part.chunk.text_to_embed)
        for i, part in enumerate(made)
    }
    assert [p.chunk.index for p in found] == sorted(expected, key=lambda i: -expected[i])
    for passage in (with_similarity(passage, 0.6) for passage in found):
        assert passage.score == pytest.approx(expected[passage.chunk.index], abs=1e-4)
        assert passage.similarity == pytest.approx(cosine(vector(question), vector(passage.chunk.text)), abs=1e-3)


async def test_a_chunk_with_the_rarest_word_is_found_however_far_its_embedding_is(
    any_store: VectorStore, tenant: str
) -> None:
    await any_store.ensure(DIMENSIONS)
    near = [Chunk(f"documents/{tenant}/near", 1, i, f"filler {i}") for i in range(150)]
    far = Chunk(f"documents/{tenant}/far", 1, 0, "zyzzyva")
    question = Query("what is a zyzzyva?", vector("near"))
    lean = [embedded(far)] + [type(embedded(chunk))(chunk, vector("near")) for chunk in near]
    await any_store.upsert(lean)
    request = SearchRequest(Scope(tenant), [question], 5, dense_weight=0.3)
    assert (await any_store.search(request)).passages[0].chunk == far


async def test_a_question_of_small_words_alone_is_ranked_by_similarity(any_store: VectorStore, tenant: str) -> None:
    await any_store.ensure(DIMENSIONS)
    await any_store.upsert(chunks(tenant))
    found = (await any_store.search(ask(tenant, "what is it?", dense_weight=0.6))).passages
    assert len(found) == 3
    for passage in found:
        assert passage.similarity is not None
        assert passage.score == pytest.approx(0.6 * passage.similarity, abs=1e-4)


async def test_several_queries_keep_each_passage_once_with_its_best_score(any_store: VectorStore, tenant: str) -> None:
    await any_store.ensure(DIMENSIONS)
    await any_store.upsert(chunks(tenant))
    near = [Query(text, vector(text)) for text in ("text 0 of a.txt 1", "text 2 of a.txt 1")]
    assert await indexes(any_store, SearchRequest(Scope(tenant), near, 2)) == [0, 2]


async def test_writing_the_same_chunks_twice_leaves_them_once(any_store: VectorStore, tenant: str) -> None:
    await any_store.ensure(DIMENSIONS)
    for _ in range(2):
        await any_store.upsert(chunks(tenant, count=130))
    assert await any_store.count(tenant) == 130
    assert len({chunk.index async for chunk in any_store.scan(tenant)}) == 130


async def test_nothing_crosses_from_one_tenant_to_another(any_store: VectorStore, tenant: str) -> None:
    await any_store.ensure(DIMENSIONS)
    made = chunks(tenant)
    await any_store.upsert(made)
    for stranger in (f"{tenant}-not", tenant[:-1], tenant.upper(), "*"):
        assert (await any_store.search(ask(stranger, "text 1 of a.txt 1", dense_weight=0.5))).passages == ()
        assert await any_store.chunks(stranger, [made[0].chunk.identity]) == []
        assert [chunk async for chunk in any_store.scan(stranger)] == []
        await any_store.delete_older(DocumentKey(f"documents/{stranger}/a.txt"), before=99)
    assert await any_store.count(tenant) == 3


async def test_only_the_groups_of_a_document_see_it(any_store: VectorStore, tenant: str) -> None:
    await any_store.ensure(DIMENSIONS)
    for name, groups in (("open", ()), ("hr", ("hr",)), ("both", ("hr", "ops")), ("odd", ("*",))):
        await any_store.upsert(chunks(tenant, name, count=1, groups=groups))

    async def seen(*groups: str) -> set[str]:
        found = await any_store.search(ask(tenant, "x", limit=9, groups=groups, dense_weight=0.5))
        return {passage.chunk.name for passage in found.passages}

    assert await seen() == {"open"}
    assert await seen("hr") == {"open", "hr", "both"}
    assert await seen("ops", "nobody") == {"open", "both"}
    assert await seen("HR", "hr ", "h", "=hr") == {"open"}
    assert await seen("*") == {"open", "odd"}


async def test_retiring_takes_the_older_generations_of_one_document(any_store: VectorStore, tenant: str) -> None:
    await any_store.ensure(DIMENSIONS)
    latest = 1_795_000_000_000_000
    for made in (chunks(tenant), chunks(tenant, generation=latest, count=4), chunks(tenant, "b.txt")):
        await any_store.upsert(made)
    key = DocumentKey(f"documents/{tenant}/a.txt")
    await any_store.delete_older(key, before=latest)
    assert await any_store.count(tenant, document_key=key.key) == 4
    await any_store.delete_older(key, before=latest + 1)
    assert await any_store.count(tenant, document_key=key.key) == 0
    assert await any_store.count(tenant) == 3


async def test_discarding_takes_one_generation_alone(any_store: VectorStore, tenant: str) -> None:
    await any_store.ensure(DIMENSIONS)
    for generation in (5, 6, 7):
        await any_store.upsert(chunks(tenant, generation=generation))
    await any_store.delete_generation(DocumentKey(f"documents/{tenant}/a.txt"), generation=6)
    found = [chunk async for chunk in any_store.scan(tenant)]
    assert {chunk.generation for chunk in found} == {5, 7}


async def test_a_search_can_leave_generations_out(any_store: VectorStore, tenant: str) -> None:
    await any_store.ensure(DIMENSIONS)
    old, new = 1_795_000_000_000_000, 1_795_000_000_000_001
    for generation in (old, new):
        await any_store.upsert(chunks(tenant, generation=generation))
    for left_out, expected in ((old, new), (new, old)):
        request = ask(tenant, "x", limit=9, dense_weight=0.5, without=frozenset({left_out, 3}))
        found = await any_store.search(request)
        assert [passage.chunk.generation for passage in found.passages] == [expected] * 3


async def test_chunks_are_fetched_by_what_they_are(any_store: VectorStore, tenant: str) -> None:
    await any_store.ensure(DIMENSIONS)
    made = chunks(tenant)
    await any_store.upsert(made)
    key = made[0].chunk.document_key
    wanted = [ChunkId(key, 1, 2), ChunkId(key, 1, 0), ChunkId(key, 1, 9), ChunkId(key, 2, 0), ChunkId(key, 1, -1)]
    assert await any_store.chunks(tenant, wanted) == [made[0].chunk, made[2].chunk]
    assert await any_store.chunks(tenant, []) == []


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ({"page": 2}, {1}),
        ({"page": {"$gt": 1, "$lt": 3}}, {1}),
        ({"page": {"$nin": [1, 3]}}, {1}),
        ({"section": {"$ne": "Part 2"}}, {0, 1}),
        ({"page": {"$exists": False}}, set()),
        ({"$or": [{"page": 1}, {"section": "Part 1"}]}, {0, 1}),
        ({"$and": [{"page": {"$lte": 2}}, {}]}, {0, 1}),
        ({"name": "b.txt"}, set()),
    ],
)
async def test_a_filter_keeps_what_it_says(
    calm_store: VectorStore, tenant: str, filter_: dict[str, Any], expected: set[int]
) -> None:
    await calm_store.ensure(DIMENSIONS)
    await calm_store.upsert(chunks(tenant))
    assert set(await indexes(calm_store, ask(tenant, "x", filter=filter_, dense_weight=0.5))) == expected


async def test_ties_come_in_the_order_of_the_documents(any_store: VectorStore, tenant: str) -> None:
    await any_store.ensure(DIMENSIONS)
    same = [embedded(Chunk(f"documents/{tenant}/{name}", 1, i, "same")) for name in ("b", "a") for i in (1, 0)]
    await any_store.upsert(same)
    found = (await any_store.search(ask(tenant, "same"))).passages
    assert [(p.chunk.name, p.chunk.index) for p in found] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


async def test_another_dimension_is_refused_with_what_to_do(any_store: VectorStore) -> None:
    await any_store.ensure(DIMENSIONS)
    await any_store.ensure(DIMENSIONS)
    with pytest.raises(ConfigurationError, match="COLLECTION_PREFIX"):
        await any_store.ensure(DIMENSIONS + 1)


async def test_a_dropped_collection_can_be_made_again(any_store: VectorStore, tenant: str) -> None:
    for dimensions in (DIMENSIONS, DIMENSIONS):
        await any_store.ensure(dimensions)
        await any_store.upsert(chunks(tenant))
        await any_store.drop()
        assert await any_store.count(tenant) == 0
        assert (await any_store.search(ask(tenant, "x"))).passages == ()


async def test_a_collection_that_somebody_else_dropped_is_made_again_by_the_next_try(
    calm_store: VectorStore, tenant: str
) -> None:
    await calm_store.ensure(DIMENSIONS)
    ensured = calm_store._ensured  # type: ignore[attr-defined]
    await calm_store.drop()
    calm_store._ensured = ensured  # type: ignore[attr-defined]
    with pytest.raises(StoreUnavailableError, match="gone"):
        await calm_store.upsert(chunks(tenant))
    await calm_store.ensure(DIMENSIONS)
    await calm_store.upsert(chunks(tenant))
    assert len((await calm_store.search(ask(tenant, "x"))).passages) == 3


@pytest.mark.parametrize("fault", ["overloaded", "cut_before", "garbage"])
@pytest.mark.parametrize("calm_store", ["qdrant", "pinecone", "s3vectors"], indirect=True)
async def test_a_server_that_keeps_failing_is_unavailable(calm_store: VectorStore, faults: Faults, fault: str) -> None:
    faults.next = [fault] * 50
    with pytest.raises(StoreUnavailableError):
        await calm_store.check()
    assert len(faults.next) == 46, "four tries, and no more"


async def test_a_server_that_is_gone_is_unavailable() -> None:
    gone = f"127.0.0.1:{free_port()}"
    region = PineconeRegion()
    for opening in (
        open_qdrant_store(f"http://{gone}", api_key="", collection="c"),
        open_pinecone_store(f"http://{gone}", api_key="k", collection="c", region=region),
        open_redis_store(f"redis://{gone}/0", collection="c"),
    ):
        async with opening as store:
            with pytest.raises(StoreUnavailableError, match="does not answer"):
                await store.check()


async def test_a_redis_without_search_says_what_is_missing(redis_url: str, tenant: str) -> None:
    async with open_redis_store(redis_url, collection="c") as store:
        with pytest.raises(ConfigurationError, match="VECTOR_STORE"):
            await store.ensure(DIMENSIONS)


async def test_chunks_come_with_their_embeddings(any_store: VectorStore, tenant: str) -> None:
    await any_store.ensure(DIMENSIONS)
    labels: dict[str, Any] = {
        "tags": ("policy", "ü"),
        "language": "en",
        "lead": "Before.",
        "context": "On leave.",
        "html": "<table></table>",
    }
    made = [EmbeddedChunk(replace(each.chunk, **labels), each.vector) for each in chunks(tenant, count=3)]
    await any_store.upsert(made)
    wanted = [made[2].chunk.identity, made[0].chunk.identity, ChunkId(made[0].chunk.document_key, 1, 9)]
    found = await any_store.embedded(tenant, wanted)
    assert [each.chunk for each in found] == [made[0].chunk, made[2].chunk]
    for each, written in zip(found, (made[0], made[2]), strict=True):
        assert list(each.vector) == pytest.approx(list(written.vector), abs=1e-6)
    assert await any_store.embedded(tenant, []) == []
    assert await any_store.embedded(f"{tenant}-other", wanted) == []
