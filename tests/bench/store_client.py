"""One client of a vector store, in a process of its own: its cold start, then rounds of a hundred searches at once.

    python -m tests.bench.store_client NAME URL ROUNDS [chat]

With `chat`, what the chat function imports for itself is there before the cold start is measured. Prints one JSON
value. Runs in our environment, or in that of the peers, which has none of Headrace's packages.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

CONCURRENT = 100
TICK_SECONDS = 0.002
VECTOR = [0.05] * 384
Search = Callable[[], Awaitable[Any]]
OPENED = AsyncExitStack()


async def headrace_qdrant(url: str) -> Search:
    from headrace.stores.qdrant import open_qdrant_store

    return await _ours(open_qdrant_store(url, api_key="", collection="c"))


async def headrace_pinecone(url: str) -> Search:
    from headrace.stores.pinecone import PineconeRegion, open_pinecone_store

    return await _ours(open_pinecone_store(url, api_key="k", collection="c", region=PineconeRegion()))


async def _ours(opening: Any) -> Search:
    from headrace.types import Query, Scope, SearchRequest

    store = await OPENED.enter_async_context(opening)
    question = Query("how much oil does the main bearing take?", VECTOR)
    request = SearchRequest(Scope("acme"), [question], 12, dense_weight=0.6)

    async def search() -> None:
        found = await store.search(request)
        assert len(found.passages) == 12

    return search


async def qdrant_client(url: str) -> Search:
    from qdrant_client import AsyncQdrantClient, models

    client = AsyncQdrantClient(url=url, check_compatibility=False)
    tenant = models.Filter(must=[models.FieldCondition(key="tenant", match=models.MatchValue(value="acme"))])

    async def search() -> None:
        found = await client.query_points("c", query=VECTOR, using="dense", limit=12, query_filter=tenant)
        assert len(found.points) == 12

    return search


async def pinecone_client(url: str) -> Search:
    from pinecone import AsyncIndex

    index = AsyncIndex(host=url, api_key="k")

    async def search() -> None:
        found = await index.query(vector=VECTOR, top_k=12, namespace="acme", include_metadata=True)
        assert len(found.matches) == 12

    return search


async def langchain_qdrant(url: str) -> Search:
    from langchain_qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    client = QdrantClient(url=url, check_compatibility=False)
    store = QdrantVectorStore(client, "c", embedding=_embeddings(), validate_collection_config=False)

    async def search() -> None:
        assert len(await store.asimilarity_search_with_score("question", k=12)) == 12

    return search


async def langchain_pinecone(url: str) -> Search:
    from langchain_pinecone import PineconeVectorStore
    from pinecone import Pinecone

    index = Pinecone(api_key="k").Index(host=url)
    store = PineconeVectorStore(index=index, embedding=_embeddings(), text_key="text", pinecone_api_key="k", host=url)

    async def search() -> None:
        assert len(await store.asimilarity_search_with_score("question", k=12)) == 12

    return search


def _embeddings() -> Any:
    from langchain_core.embeddings import Embeddings

    class Constant(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [VECTOR for _ in texts]

        def embed_query(self, text: str) -> list[float]:
            return VECTOR

        async def aembed_query(self, text: str) -> list[float]:
            return VECTOR

    return Constant()


CLIENTS: dict[str, Callable[[str], Awaitable[Search]]] = {
    f.__name__: f
    for f in (headrace_qdrant, qdrant_client, langchain_qdrant, headrace_pinecone, pinecone_client, langchain_pinecone)
}


async def measure(name: str, url: str, rounds: int) -> dict[str, Any]:
    """Cold start in ms of CPU; then the rounds' wall time, CPU a query, longest block of the loop, and errors."""
    started = time.process_time()
    search = await CLIENTS[name](url)
    opened_ms = (time.process_time() - started) * 1000
    await asyncio.gather(search(), return_exceptions=True)
    first_ms = (time.process_time() - started) * 1000
    results = [await _round(search) for _ in range(rounds)]
    await OPENED.aclose()
    return {"open_cpu_ms": opened_ms, "first_cpu_ms": first_ms, "rounds": results}


async def _round(search: Search) -> dict[str, float]:
    blocked = 0.0
    done = False

    async def planner() -> None:
        nonlocal blocked
        while not done:
            before = time.perf_counter()
            await asyncio.sleep(TICK_SECONDS)
            blocked = max(blocked, time.perf_counter() - before - TICK_SECONDS)

    watching = asyncio.create_task(planner())
    await asyncio.sleep(0.01)
    cpu, wall = time.process_time(), time.perf_counter()
    answers = await asyncio.gather(*(search() for _ in range(CONCURRENT)), return_exceptions=True)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    done = True
    await watching
    errors = [answer for answer in answers if isinstance(answer, BaseException)]
    if errors:
        print(repr(errors[0])[:300], file=sys.stderr)
    return {
        "wall_ms": wall * 1000, "cpu_ms": cpu * 1000 / CONCURRENT, "blocked_ms": blocked * 1000, "errors": len(errors),
    }  # fmt: skip


if __name__ == "__main__":
    if sys.argv[4:] == ["chat"]:
        import functions.chat.main  # noqa: F401 - likewise
        import headrace.clients.redis  # noqa: F401 - what wiring opens beside the store
    print(json.dumps(asyncio.run(measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
