"""Where tools come from that are always there: the documents' own, and lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.protocols import DocumentRegistry, Tool, VectorSearch
from headrace.retrieval.retriever import Retriever


class FixedTools:
    """A ToolSource of tools that are always there."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = tools

    @property
    def is_of_documents(self) -> bool:
        return all(tool.is_of_documents for tool in self._tools)

    async def tools(self, filter_: Mapping[str, Any]) -> Sequence[Tool]:  # noqa: ARG002 - they have no documents
        return self._tools


class DocumentTools:
    """A ToolSource of the tools that search, read, list, and look up rows. They are loaded when they are first wanted."""

    is_of_documents = True

    def __init__(self, retriever: Retriever, store: VectorSearch, registry: DocumentRegistry) -> None:
        self._retriever = retriever
        self._store = store
        self._registry = registry

    async def tools(self, filter_: Mapping[str, Any]) -> Sequence[Tool]:
        from headrace.tools.documents import ListDocuments, ReadDocument, SearchDocuments
        from headrace.tools.reading import DocumentReader
        from headrace.tools.tables import LookUpRows

        reader = DocumentReader(self._store, self._registry, filter_)
        return SearchDocuments(self._retriever, reader), ReadDocument(reader), ListDocuments(reader), LookUpRows(reader)
