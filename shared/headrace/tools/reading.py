"""Documents as tools read them: found by name among those that the asker may see, and whole, in one version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.errors import ToolError
from headrace.filters import fields_of, matches, parse_filter
from headrace.protocols import DocumentRegistry, VectorSearch
from headrace.types import Chunk, ChunkId, Document, DocumentKey, Principal

BATCH = 256
# A document of more parts is not read whole.
MOST_PARTS = 10_000
TRIES = 3
NAMED = 5


class DocumentReader:
    """Reads from the store what the registry says is current, and what the filter lets through."""

    def __init__(
        self, store: VectorSearch, registry: DocumentRegistry, filter_: Mapping[str, Any] | None = None
    ) -> None:
        self._store = store
        self._registry = registry
        self.filter = filter_ or {}
        self._wanted = parse_filter(self.filter)

    async def documents(self, principal: Principal) -> list[Document]:
        """The documents that the asker may see, by key."""
        found = await self._registry.documents(principal.tenant)
        return [each for each in found if principal.may_see(each.groups) and self._lets_through(_cover(each))]

    async def find(self, name: str, principal: Principal) -> Document:
        """The searchable document of this name or key, whatever its case. Raises ToolError."""
        wanted = name.strip().casefold()
        known = [each for each in await self.documents(principal) if each.generation is not None]
        found = [each for each in known if wanted in {each.name.casefold(), each.key.casefold()}]
        exact = [each for each in found if name.strip() in {each.name, each.key}] or found
        # People say a file's name without its folders, and without its ending.
        last = exact or [each for each in known if wanted in _short_names(each)]
        if len(last) == 1:
            return last[0]
        if last:
            names = ", ".join(each.name for each in last[:NAMED])
            raise ToolError(f"Several documents are called so: {names}. Give the whole name.")
        raise ToolError("There is no such document, or it can't be searched yet. list_documents has their names.")

    async def chunks(self, document: Document, principal: Principal) -> list[Chunk]:
        """All of the document's parts in order. Raises ToolError."""
        key = DocumentKey(document.key)
        for _ in range(TRIES):
            found = await self._read(document)
            now = await self._registry.get(key)
            if now is None or now.generation is None or not principal.may_see(now.groups):
                break
            if now.generation == document.generation and len(found) == document.chunks:
                return [chunk for chunk in found if self._lets_through(chunk)]
            document = now
        raise ToolError("The document has just been changed or deleted. Try once more.")

    def _lets_through(self, chunk: Chunk) -> bool:
        return not self.filter or matches(self._wanted, fields_of(chunk))

    async def _read(self, document: Document) -> list[Chunk]:
        if document.chunks > MOST_PARTS:
            raise ToolError(f"The document has more than {MOST_PARTS:,} parts. Search in it instead.")
        identities = [ChunkId(document.key, document.generation or 0, place) for place in range(document.chunks)]
        found: list[Chunk] = []
        for start in range(0, len(identities), BATCH):
            found += await self._store.chunks(document.tenant, identities[start : start + BATCH])
        return found


def _cover(document: Document) -> Chunk:
    """What a filter can tell of a document as a whole: it has no page and no section."""
    return Chunk(document.key, document.generation or 0, 0, "", tags=document.tags, language=document.language)


def _short_names(document: Document) -> set[str]:
    last = document.name.rsplit("/", 1)[-1].casefold()
    return {last, last.rsplit(".", 1)[0]}
