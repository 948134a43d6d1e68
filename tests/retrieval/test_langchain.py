"""LangChain gets our passages through its own interface, truly asynchronously."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import ToolException, tool

from headrace.embedders.minilm import MiniLMEmbedder
from headrace.langchain import HeadraceRetriever, HeadraceTool, open_langchain_model, open_langchain_retriever
from headrace.redis_state.registry import RedisRegistry
from headrace.retrieval.retriever import RetrievalOptions, Retriever
from headrace.settings import Settings
from headrace.stores.qdrant import QdrantStore, open_qdrant_store
from headrace.types import Block, Principal, Scope
from headrace.wiring import collection_of, document_tools_on
from tests.support.embedders import HashEmbedder
from tests.support.library import Library
from tests.support.openai_server import Script


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


async def test_our_tools_are_langchains_for_one_principal(library: Library) -> None:
    await library.put("manual.txt", Block("The pump takes 18 litres.", page=3, section=("Oil",)))
    await library.put("secret.txt", "The pump is blue.", groups=("hr",))
    inner = Retriever(
        embedder=library.embedder,
        store=library.store,
        registry=library.registry,
        options=RetrievalOptions(limit=3, min_similarity=-2.0),
    )
    source = document_tools_on(inner, library.store, library.registry)
    tools = {tool.spec.name: HeadraceTool.of(tool, Principal(library.tenant)) for tool in await source.tools({})}
    message = await tools["search_documents"].ainvoke(
        {"type": "tool_call", "id": "1", "name": "search_documents", "args": {"query": "How much oil?"}}
    )
    assert "manual.txt, page 3 · Oil:\nThe pump takes 18 litres." in message.content
    assert [each["name"] for each in message.artifact] == ["manual.txt"]
    assert "manual.txt" in await tools["list_documents"].ainvoke({})
    with pytest.raises(ToolException, match="no such document"):
        await tools["read_document"].ainvoke({"document": "secret.txt"})
    with pytest.raises(NotImplementedError, match="asynchronous"):
        tools["list_documents"].invoke({})


async def test_our_model_is_langchains(openai_url: str, script: Script) -> None:
    async with open_langchain_model(
        Settings(openai_base_url=openai_url, openai_api_key="k", chat_model="test-model")
    ) as model:
        script.reply = lambda _: "Two words."
        said = await model.ainvoke([SystemMessage("Be brief."), HumanMessage("Hello")])
        assert said.text == "Two words."
        assert said.usage_metadata is not None
        assert said.usage_metadata["total_tokens"] > 0
        pieces = [piece.text async for piece in model.astream("Hello")]
        assert "".join(pieces) == "Two words."
        assert len(pieces) > 2

        @tool
        async def weather(city: str) -> str:
            """The weather in a city."""
            return f"sunny in {city}"

        script.act = lambda _: [("weather", '{"city": "Bern"}')]
        calling = model.bind_tools([weather], tool_choice="any")
        answer = await calling.ainvoke("How is the weather in Bern?")
        assert [(call["name"], call["args"]) for call in answer.tool_calls] == [("weather", {"city": "Bern"})]
        assert script.requests[-1]["tool_choice"] == "required"
        script.act = lambda _: "It is sunny."
        result = await weather.ainvoke(answer.tool_calls[0])
        last = await model.bind_tools([weather]).ainvoke([HumanMessage("?"), answer, result])
        assert last.text == "It is sunny."
        sent = script.requests[-1]["messages"]
        assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
        assert sent[2]["tool_call_id"] == sent[1]["tool_calls"][0]["id"]
        with pytest.raises(NotImplementedError, match="asynchronous"):
            model.invoke("Hello")
