"""LangChain gets our passages through its own interface, truly asynchronously."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda

from headrace.embedders.minilm import MiniLMEmbedder
from headrace.langchain import HeadraceRetriever, open_langchain_retriever
from headrace.redis_state.registry import RedisRegistry
from headrace.retrieval.retriever import RetrievalOptions, Retriever
from headrace.settings import Settings
from headrace.stores.qdrant import QdrantStore, open_qdrant_store
from headrace.types import Block, Scope
from headrace.wiring import collection_of
from tests.support.embedders import HashEmbedder
from tests.support.library import Library


@pytest.fixture
def library(tenant: str, store: QdrantStore, registry: RedisRegistry) -> Library:
    return Library(tenant, HashEmbedder(), store, registry)


def retriever_of(library: Library, embedder: HashEmbedder | None = None, **more: Any) -> HeadraceRetriever:
    options = RetrievalOptions(limit=3, min_similarity=-2.0)
    inner = Retriever(
        embedder=embedder or library.embedder, store=library.store, registry=library.registry, options=options
    )
    return HeadraceRetriever(retriever=inner, scope=Scope(library.tenant), **more)


async def test_a_chain_gets_documents_with_their_place_and_scores(library: Library) -> None:
    await library.put("manual.txt", Block("The pump takes 18 litres.", page=3, section=("Oil",)))
    await library.put("secret.txt", "The pump is blue.", groups=("hr",))
    chain = retriever_of(library) | RunnableLambda(lambda documents: documents)
    [document] = await chain.ainvoke("How much oil does the pump take?")
    assert document.page_content == "The pump takes 18 litres."
    assert document.metadata["document"] == f"documents/{library.tenant}/manual.txt"
    assert document.metadata["place"] == "page 3 · Oil"
    assert 0 < document.metadata["score"] <= 1
    assert document.id


async def test_a_filter_holds_for_every_question(library: Library) -> None:
    for name in "ab":
        await library.put(name, f"text {name}")
    found = await retriever_of(library, filter={"name": "b"}).ainvoke("text")
    assert [document.metadata["name"] for document in found] == ["b"]


async def test_a_hundred_questions_wait_together_on_one_loop_and_no_thread(library: Library) -> None:
    class Remote(HashEmbedder):
        """An embedding model that is 50 ms away."""

        async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
            await asyncio.sleep(0.05)
            return await super().embed(texts)

    await library.put("a", "text a")
    retriever = retriever_of(library, Remote())
    await retriever.ainvoke("warm up")
    before = set(threading.enumerate())
    answers = await asyncio.gather(*(retriever.ainvoke(f"question {i}") for i in range(100)))
    assert all(len(documents) == 1 for documents in answers)
    assert set(threading.enumerate()) == before, "no thread pool stands in for asynchrony"


async def test_asking_synchronously_says_how_to_ask(library: Library) -> None:
    with pytest.raises(NotImplementedError, match="ainvoke"):
        retriever_of(library).invoke("x")


async def test_it_opens_from_the_settings_alone(
    stack: AsyncExitStack,
    tenant: str,
    qdrant_url: str,
    redis_url: str,
    embedder: MiniLMEmbedder,
    registry: RedisRegistry,
) -> None:
    settings = Settings(redis_url=redis_url, qdrant_url=qdrant_url, collection_prefix=f"lc-{tenant}")
    opening = open_qdrant_store(qdrant_url, api_key="", collection=collection_of(settings))
    store = await stack.enter_async_context(opening)
    await Library(tenant, embedder, store, registry).put("a.txt", "Parental leave lasts eighteen weeks.")
    async with open_langchain_retriever(settings, scope=Scope(tenant)) as retriever:
        [document] = await retriever.ainvoke("How long is parental leave?")
    assert "eighteen weeks" in document.page_content
