"""The documents' own tools: search them, list them, read one from any place on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from headrace.errors import ToolError
from headrace.retrieval.retriever import Retriever
from headrace.tools.reading import DocumentReader
from headrace.types import Chunk, Document, Passage, Principal, ToolResult, ToolSpec

TIMEOUT_SECONDS = 10.0
MOST_LISTED = 100
# One call reads so much of a document, of whole parts.
READ_CHARACTERS = 12_000
NAMED_SECTIONS = 30


class SearchDocuments:
    """Finds passages."""

    timeout_seconds = TIMEOUT_SECONDS
    writes = False
    is_of_documents = True
    spec = ToolSpec(
        "search_documents",
        "Search the reader's documents for passages. Ask one thing at a time, in a full question or its key words, in the "
        "documents' language.",
        {
            "type": "object",
            "properties": {
                "query": {"type": "string", "minLength": 1, "maxLength": 1000},
                "document": {"type": "string", "description": "Search in the document of this name alone."},
                "tags": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "In documents with one of these.",
                },
                "language": {"type": "string", "description": "In documents of this language, as ISO 639-1 has it."},
            },
            "required": ["query"],
            "additionalProperties": False,
        },
    )

    def __init__(self, retriever: Retriever, reader: DocumentReader) -> None:
        self._retriever = retriever
        self._reader = reader

    async def call(self, arguments: Mapping[str, Any], principal: Principal) -> ToolResult:
        wanted: dict[str, Any] = {}
        if document := arguments.get("document"):
            wanted["document"] = (await self._reader.find(document, principal)).key
        if tags := arguments.get("tags"):
            wanted["tags"] = {"$in": tags}
        if language := arguments.get("language"):
            wanted["language"] = language
        both = (
            {"$and": [self._reader.filter, wanted]} if self._reader.filter and wanted else self._reader.filter or wanted
        )
        found = await self._retriever.retrieve(arguments["query"], scope=principal.scope, filter_=both)
        return ToolResult(passages=found.passages)


class ListDocuments:
    """Says which documents there are."""

    timeout_seconds = TIMEOUT_SECONDS
    writes = False
    is_of_documents = True
    spec = ToolSpec(
        "list_documents",
        f"List the reader's documents, {MOST_LISTED} at a time: their names, whether they can be searched, their tags, and "
        "when they were last changed.",
        {
            "type": "object",
            "properties": {
                "contains": {"type": "string", "description": "Only those whose name has this in it."},
                "after": {"type": "string", "description": "Go on behind the document of this name."},
            },
            "additionalProperties": False,
        },
    )

    def __init__(self, reader: DocumentReader) -> None:
        self._reader = reader

    async def call(self, arguments: Mapping[str, Any], principal: Principal) -> ToolResult:
        part, after = arguments.get("contains", "").casefold(), arguments.get("after", "")
        documents = await self._reader.documents(principal)
        listed = sorted((each for each in documents if part in each.name.casefold()), key=lambda each: each.name)
        rest = [each for each in listed if each.name > after]
        lines = [f"{len(listed)} of {len(documents)} documents." if part else f"{len(documents)} documents."]
        lines += map(_line, rest[:MOST_LISTED])
        if len(rest) > MOST_LISTED:
            lines.append(f"{len(rest) - MOST_LISTED} more behind {rest[MOST_LISTED - 1].name}.")
        return ToolResult("\n".join(lines))


class ReadDocument:
    """Reads a document, or a section or page of it, as it stands."""

    timeout_seconds = TIMEOUT_SECONDS
    writes = False
    is_of_documents = True
    spec = ToolSpec(
        "read_document",
        "Read a document as it stands: from its beginning, one section, one page, or from a part on.",
        {
            "type": "object",
            "properties": {
                "document": {"type": "string", "description": "Its name."},
                "section": {"type": "string", "description": "The heading of a section, or a part of it."},
                "page": {"type": "integer", "minimum": 1},
                "from_part": {"type": "integer", "minimum": 1},
            },
            "required": ["document"],
            "additionalProperties": False,
        },
    )

    def __init__(self, reader: DocumentReader) -> None:
        self._reader = reader

    async def call(self, arguments: Mapping[str, Any], principal: Principal) -> ToolResult:
        document = await self._reader.find(arguments["document"], principal)
        chunks = await self._reader.chunks(document, principal)
        wanted = _of_page(_of_section(chunks, arguments.get("section", "")), arguments.get("page"))
        wanted = [chunk for chunk in wanted if chunk.index + 1 >= arguments.get("from_part", 1)]
        read: list[Chunk] = []
        size = 0
        for chunk in wanted:
            size += len(chunk.text)
            if read and size > READ_CHARACTERS:
                break
            read.append(chunk)
        if not read:
            raise ToolError(f"There is nothing at that place. The document has {len(chunks)} parts.")
        told = f"Parts {read[0].index + 1} to {read[-1].index + 1} of {len(chunks)}."
        if len(read) < len(wanted):
            told += f" The rest begins at part {wanted[len(read)].index + 1} (from_part)."
        return ToolResult(told, tuple(Passage(chunk, 0.0) for chunk in read))


def _line(document: Document) -> str:
    when = datetime.fromtimestamp(document.updated_at, UTC).date().isoformat() if document.updated_at else ""
    state = f"{document.chunks} parts" if document.generation is not None else f"not searchable: {document.state}"
    tags = f"tags: {', '.join(document.tags)}" if document.tags else ""
    return f"- {document.name} ({'; '.join(filter(None, (state, document.language, tags, when)))})"


def _of_section(chunks: Sequence[Chunk], title: str) -> list[Chunk]:
    """The parts under a heading that has this in it. Raises ToolError that names those that there are."""
    wanted = title.strip().casefold()
    found = [chunk for chunk in chunks if not wanted or any(wanted in name.casefold() for name in chunk.section)]
    if found:
        return found
    names = list(dict.fromkeys(" › ".join(chunk.section) for chunk in chunks if chunk.section))
    known = "; ".join(names[:NAMED_SECTIONS]) or "none"
    raise ToolError(f"There is no such section. Sections: {known}.")


def _of_page(chunks: Sequence[Chunk], page: int | None) -> list[Chunk]:
    return [chunk for chunk in chunks if page is None or chunk.page == page]
