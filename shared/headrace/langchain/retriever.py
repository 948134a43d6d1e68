"""Headrace's retriever as LangChain's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from headrace import wiring
from headrace.protocols import DocumentRegistry, VectorSearch
from headrace.retrieval.retriever import Retriever
from headrace.settings import Settings
from headrace.types import Passage, Scope


class HeadraceRetriever(BaseRetriever):
    """Current passages of one scope, best first, as LangChain documents. Asynchronous alone: no thread stands behind it.

    `metadata` of a document: `document` (the key in the bucket), `name`, `place`, `page`, `section`, `score`,
    `similarity`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    retriever: Retriever
    scope: Scope
    filter: dict[str, Any] = Field(default_factory=dict)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        found = await self.retriever.retrieve(query, scope=self.scope, filter_=self.filter)
        return [_document(passage) for passage in found.passages]

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        raise NotImplementedError(
            "Headrace's retriever is asynchronous. Use `await retriever.ainvoke(…)` or `astream`."
        )


@asynccontextmanager
async def open_langchain_retriever(
    settings: Settings, *, scope: Scope, filter_: dict[str, Any] | None = None
) -> AsyncIterator[HeadraceRetriever]:
    """A retriever on the parts that the settings name; closes their connections at the end."""
    async with open_parts(settings) as (retriever, _, _):
        yield HeadraceRetriever(retriever=retriever, scope=scope, filter=filter_ or {})


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[tuple[Retriever, VectorSearch, DocumentRegistry]]:
    """The retriever that the settings name, with the store and the registry that it stands on."""
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(wiring.open_redis(settings))
        embedder = await stack.enter_async_context(wiring.open_embedder(settings))
        store = await stack.enter_async_context(wiring.open_store(settings))
        reranker = await stack.enter_async_context(wiring.open_reranker(settings))
        registry = wiring.registry_on(redis)
        yield wiring.retriever_on(settings, embedder, store, registry, reranker), store, registry


def _document(passage: Passage) -> Document:
    chunk = passage.chunk
    metadata = {
        "document": chunk.document_key,
        "name": chunk.name,
        "place": chunk.place,
        "page": chunk.page,
        "section": list(chunk.section),
        "score": passage.score,
        "similarity": passage.similarity,
    }
    identity = "#".join(map(str, chunk.identity))
    return Document(id=identity, page_content=passage.context or chunk.text, metadata=metadata)
