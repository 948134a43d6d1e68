"""The local Qdrant server is held against the vendor's own client, and what Headrace asks against the published API.

The vendor generates its client's models from its OpenAPI description; they refuse what it does not know.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from qdrant_client import AsyncQdrantClient
from qdrant_client.http import models
from qdrant_client.http.exceptions import UnexpectedResponse

from headrace.stores.edge_engine import Engine
from headrace.stores.qdrant import QdrantStore, open_qdrant_store
from headrace.stores.qdrant_wire import collection_config
from infra.local.qdrant_server import QdrantServer
from tests.support.chunks import DIMENSIONS, ask, chunks, vector
from tests.support.exercise import exercise
from tests.support.http import served
from tests.support.recorder import Exchange, recorded

REQUESTS: dict[tuple[str, str], type[BaseModel]] = {
    ("PUT", ""): models.CreateCollection,
    ("PUT", "/index"): models.CreateFieldIndex,
    ("PUT", "/points"): models.PointsList,
    ("POST", "/points"): models.PointRequest,
    ("POST", "/points/delete"): models.FilterSelector,
    ("POST", "/points/query/batch"): models.QueryRequestBatch,
    ("POST", "/points/count"): models.CountRequest,
    ("POST", "/points/scroll"): models.ScrollRequest,
}
RESULTS: dict[tuple[str, str], type[BaseModel]] = {
    ("POST", "/points/count"): models.CountResult,
    ("POST", "/points/scroll"): models.ScrollResult,
    ("PUT", "/points"): models.UpdateResult,
    ("POST", "/points/delete"): models.UpdateResult,
    ("PUT", "/index"): models.UpdateResult,
}


@pytest.fixture
def exchanges() -> list[Exchange]:
    return []


@pytest.fixture
async def url(stack: AsyncExitStack, tmp_path: Path, exchanges: list[Exchange]) -> str:
    server = await asyncio.to_thread(QdrantServer, tmp_path / "qdrant")
    stack.push_async_callback(asyncio.to_thread, server.close)
    return await stack.enter_async_context(served(recorded(server.app(), exchanges)))


@pytest.fixture
async def client(url: str) -> AsyncIterator[AsyncQdrantClient]:
    opened = AsyncQdrantClient(url=url, check_compatibility=False)
    yield opened
    await opened.close()


@pytest.fixture
async def store(url: str, stack: AsyncExitStack) -> QdrantStore:
    return await stack.enter_async_context(open_qdrant_store(url, api_key="", collection=f"c-{uuid.uuid4().hex}"))


async def test_every_request_is_one_that_the_published_api_knows(store: QdrantStore, exchanges: list[Exchange]) -> None:
    await exercise(store)
    seen = set()
    for exchange in exchanges:
        action = exchange.path.removeprefix(store._path)
        if exchange.request is not None:
            REQUESTS[exchange.method, action].model_validate(exchange.request)
            seen.add((exchange.method, action))
        if exchange.status == 200 and (exchange.method, action) in RESULTS:
            RESULTS[exchange.method, action].model_validate(exchange.answer["result"])
    assert seen == set(REQUESTS)


async def test_the_vendors_client_reads_what_headrace_writes(
    store: QdrantStore, client: AsyncQdrantClient, tenant: str
) -> None:
    await store.ensure(DIMENSIONS)
    await store.upsert(chunks(tenant, count=5))
    name = store._collection
    assert [c.name for c in (await client.get_collections()).collections] == [name]
    info = await client.get_collection(name)
    assert info.points_count == 5
    assert set(info.payload_schema) >= {"tenant", "labels", "generation"}
    mine = models.Filter(must=[models.FieldCondition(key="tenant", match=models.MatchValue(value=tenant))])
    counted = await client.count(name, count_filter=mine)
    assert counted.count == 5
    found = await client.query_points(name, query=list(vector("text 3 of a.txt 1")), using="dense", query_filter=mine)
    assert found.points[0].payload is not None
    assert found.points[0].payload["index"] == 3
    records, following = await client.scroll(name, scroll_filter=mine, limit=3)
    rest, end = await client.scroll(name, scroll_filter=mine, limit=3, offset=following)
    assert (len(records), len(rest), end) == (3, 2, None)


async def test_the_vendors_client_asks_for_the_blended_score_as_headrace_does(
    store: QdrantStore, client: AsyncQdrantClient, tenant: str, exchanges: list[Exchange]
) -> None:
    await store.ensure(DIMENSIONS)
    await store.upsert(chunks(tenant, count=30))
    ours = (await store.search(ask(tenant, "text 7 of a.txt", dense_weight=0.6))).passages
    body = models.QueryRequestBatch.model_validate(exchanges[-1].request)
    [theirs] = await client.query_batch_points(store._collection, requests=body.searches)
    assert [p.chunk.index for p in ours] == [p.payload["index"] for p in theirs.points if p.payload]
    assert [p.score for p in ours] == pytest.approx([p.score for p in theirs.points])
    dense = models.Prefetch(query=list(vector("x")), using="dense", limit=20)
    fused = await client.query_points(
        store._collection, prefetch=[dense, dense], query=models.FusionQuery(fusion=models.Fusion.RRF), limit=3
    )
    assert len(fused.points) == 3


async def test_headrace_reads_what_the_vendors_client_changes(
    store: QdrantStore, client: AsyncQdrantClient, tenant: str
) -> None:
    await store.ensure(DIMENSIONS)
    await store.upsert(chunks(tenant, count=3))
    doomed = models.Filter(must=[models.FieldCondition(key="page", range=models.Range(gte=2))])
    await client.delete(store._collection, points_selector=models.FilterSelector(filter=doomed))
    assert await store.count(tenant) == 1


async def test_a_key_without_an_index_is_refused_as_on_the_cloud(store: QdrantStore, client: AsyncQdrantClient) -> None:
    await store.ensure(DIMENSIONS)
    by_text = models.Filter(must=[models.FieldCondition(key="text", match=models.MatchValue(value="x"))])
    with pytest.raises(UnexpectedResponse, match="Index required"):
        await client.count(store._collection, count_filter=by_text)
    with pytest.raises(UnexpectedResponse, match="404"):
        await client.get_collection("none")


async def test_what_was_filled_is_put_in_order_when_it_is_opened_again(tmp_path: Path) -> None:
    count = 8000
    random = np.random.default_rng(5)
    # As texts are: each is near some others.
    themes = 1.5 * random.normal(size=(count // 50, 384))
    vectors = random.normal(size=(count, 384)) + themes[np.arange(count) // 50]

    def fill() -> list[dict[str, Any]]:
        engine = Engine(tmp_path)
        engine.answer("PUT", "/collections/c", collection_config(384))
        for start in range(0, count, 1000):
            points = [{"id": n, "vector": {"dense": vectors[n].tolist()}} for n in range(start, start + 1000)]
            engine.answer("PUT", "/collections/c/points", {"points": points})
        assert engine.answer("GET", "/collections/c", {})["indexed_vectors_count"] == 0
        found = [search(engine, number) for number in range(20)]
        engine.close()
        return found

    def search(engine: Engine, number: int) -> dict[str, Any]:
        asked = {"query": (vectors[number] + 0.1).tolist(), "using": "dense", "limit": 5}
        answer: dict[str, Any] = engine.answer("POST", "/collections/c/points/query", asked)
        return answer

    def search_again() -> list[dict[str, Any]]:
        engine = Engine(tmp_path)
        assert engine.answer("GET", "/collections/c", {})["indexed_vectors_count"] == count
        found = [search(engine, number) for number in range(20)]
        engine.close()
        return found

    before, after = await asyncio.to_thread(fill), await asyncio.to_thread(search_again)
    best = [[point["id"] for point in found["points"]] for found in before]
    again = [[point["id"] for point in found["points"]] for found in after]
    same = sum(len(set(one) & set(other)) for one, other in zip(best, again, strict=True))
    assert same >= 97, "of a hundred"
