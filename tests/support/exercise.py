"""Everything that Headrace asks of a vector store, once: for holding the exchanges against a published API."""

from __future__ import annotations

from typing import Any

from headrace.protocols import VectorStore
from headrace.types import Chunk, DocumentKey
from tests.support.chunks import DIMENSIONS, ask, chunks, embedded

FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"page": {"$gte": 1, "$lt": 9, "$ne": 4, "$nin": [5, 6], "$in": [1, 2, 3.5], "$exists": True}},
    {"$or": [{"name": "a.txt"}, {"section": {"$exists": False}}, {"$and": [{"document": {"$ne": "x"}}, {}]}]},
)


async def exercise(store: VectorStore) -> None:
    """Write, search in every way, fetch, count, list, retire, drop."""
    tenant = "acme"
    await store.check()
    await store.ensure(DIMENSIONS)
    await store.upsert([*chunks(tenant, groups=("hr",)), embedded(Chunk(f"documents/{tenant}/plain", 2, 0, "of the"))])
    for filter_ in FILTERS:
        for weight in (1.0, 0.6):
            request = ask(tenant, "text of a.txt", groups=["hr"], dense_weight=weight, filter=filter_)
            await store.search(request)
    await store.search(ask(tenant, "text", dense_weight=0.6, without=frozenset({1, 1_795_000_000_000_000})))
    await store.chunks(tenant, [chunk.chunk.identity for chunk in chunks(tenant)])
    assert len([chunk async for chunk in store.scan(tenant)]) == 4
    await store.count(tenant, document_key=f"documents/{tenant}/a.txt")
    await store.delete_generation(DocumentKey(f"documents/{tenant}/plain"), generation=2)
    await store.delete_older(DocumentKey(f"documents/{tenant}/a.txt"), before=9)
    assert await store.count(tenant) == 0
    await store.drop()
