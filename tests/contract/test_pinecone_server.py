"""The Pinecone double is held against the vendor's own client, on the same index that Headrace uses."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from pinecone import AsyncIndex, AsyncPinecone
from pinecone.errors import PineconeError

from headrace.stores.pinecone import PineconeRegion, PineconeStore, open_pinecone_store
from headrace.stores.pinecone_wire import namespace_of
from headrace.types import DocumentKey
from tests.support.chunks import DIMENSIONS, ask, chunks, vector
from tests.support.pinecone_server import Knobs, PineconeDouble, pinecone_double


@pytest.fixture
def knobs() -> Knobs:
    return Knobs()


@pytest.fixture
async def double(stack: AsyncExitStack, knobs: Knobs) -> PineconeDouble:
    return await stack.enter_async_context(pinecone_double(knobs))


@pytest.fixture
async def store(double: PineconeDouble, stack: AsyncExitStack) -> PineconeStore:
    opening = open_pinecone_store(double.url, api_key="key", collection="headrace-test", region=PineconeRegion())
    opened = await stack.enter_async_context(opening)
    await opened.ensure(DIMENSIONS)
    return opened


@pytest.fixture
async def index(double: PineconeDouble, store: PineconeStore, stack: AsyncExitStack) -> AsyncIndex:
    async with AsyncPinecone(api_key="key", host=double.url) as account:
        described = await account.indexes.describe("headrace-test")
    assert described.status.ready
    assert described.host is not None
    return await stack.enter_async_context(AsyncIndex(host=described.host, api_key="key"))


async def test_the_vendors_client_reads_what_headrace_writes(
    store: PineconeStore, index: AsyncIndex, tenant: str
) -> None:
    await store.upsert(chunks(tenant, groups=("hr",)))
    namespace = namespace_of(tenant)
    wanted = {"$and": [{"labels": {"$in": ["=hr"]}}, {"page": {"$gte": 2}}]}
    found = await index.query(
        vector=list(vector("text 1 of a.txt 1")), top_k=5, namespace=namespace, filter=wanted, include_metadata=True
    )
    assert [match.metadata["index"] for match in found.matches if match.metadata] == [1.0, 2.0]
    assert found.matches[0].score == pytest.approx(1.0, abs=1e-4)
    assert found.response_info is not None
    assert found.response_info.lsn_reconciled == 1
    fetched = await index.fetch(ids=[found.matches[0].id], namespace=namespace)
    assert fetched.vectors[found.matches[0].id].sparse_values is not None
    listed = [item.id async for page in index.list(namespace=namespace) for item in page.vectors]
    assert len(listed) == 3
    stats = await index.describe_index_stats()
    assert (stats.total_vector_count, stats.dimension) == (3, DIMENSIONS)


async def test_headrace_reads_what_the_vendors_client_writes(
    store: PineconeStore, index: AsyncIndex, tenant: str
) -> None:
    await store.upsert(chunks(tenant, count=1))
    key = f"documents/{tenant}/b.txt"
    metadata = {
        "document": key, "labels": ["*"], "generation": 4, "index": 0, "text": "a stray gasket", "name": "b.txt",
        "total": 1, "etag": "e", "section": ["Top"],
    }  # fmt: skip
    written = await index.upsert(
        vectors=[{"id": f"{'0' * 32}#4#0", "values": list(vector("gasket")), "metadata": metadata}],
        namespace=namespace_of(tenant),
    )
    assert written.response_info is not None
    assert written.response_info.lsn_committed == 2
    best = (await store.search(ask(tenant, "gasket"))).passages[0].chunk
    assert (best.document_key, best.generation, best.page, best.section) == (key, 4, None, ("Top",))
    await index.delete(ids=[f"{'0' * 32}#4#0"], namespace=namespace_of(tenant))
    assert len((await store.search(ask(tenant, "gasket"))).passages) == 1


async def test_blended_scores_are_the_dot_product_that_the_vendor_documents(
    store: PineconeStore, index: AsyncIndex, tenant: str
) -> None:
    from headrace.stores.pinecone_wire import query_body

    await store.upsert(chunks(tenant, count=20))
    request = ask(tenant, "text 7 of a.txt", dense_weight=0.6)
    body = query_body(request, request.queries[0])
    theirs = await index.query(
        vector=body["vector"], sparse_vector=body["sparseVector"], top_k=5, namespace=body["namespace"],
        filter=body["filter"], include_metadata=True,
    )  # fmt: skip
    ours = (await store.search(request)).passages
    assert [p.score for p in ours] == pytest.approx([match.score for match in theirs.matches])


async def test_writes_are_seen_late_and_headrace_waits_for_them(
    store: PineconeStore, index: AsyncIndex, knobs: Knobs, tenant: str
) -> None:
    knobs.lag_seconds = 0.3
    namespace = namespace_of(tenant)
    values = list(vector("x"))
    await index.upsert(vectors=[{"id": "v", "values": values}], namespace=namespace)
    assert (await index.query(vector=values, top_k=1, namespace=namespace)).matches == []
    watermark = await store.upsert(chunks(tenant))
    result = await store.search(ask(tenant, "x", limit=9))
    assert (len(result.passages), result.watermark) == (3, watermark)
    await store.delete_older(DocumentKey(f"documents/{tenant}/a.txt"), before=2)
    assert await store.count(tenant) == 1, "the vendor's record alone"


async def test_the_vendors_client_sees_the_vendors_refusals(index: AsyncIndex, double: PineconeDouble) -> None:
    with pytest.raises(PineconeError, match="dimension"):
        await index.query(vector=[1.0], top_k=1)
    with pytest.raises(PineconeError, match="Metadata value"):
        await index.upsert(vectors=[{"id": "v", "values": list(vector("x")), "metadata": {"x": {"nested": 1}}}])
    async with AsyncIndex(host=double._indexes["headrace-test"].url, api_key="wrong") as stranger:
        with pytest.raises(PineconeError):
            await stranger.query(vector=list(vector("x")), top_k=1)
