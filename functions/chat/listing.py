"""The documents that somebody may see, a page at a time, and what changes of them from then on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from functions.chat.wire import schemas
from headrace.protocols import DocumentRegistry
from headrace.types import Document, DocumentKey, DocumentState, Principal

# A page whose reader may see few of the documents looks through so many, and may come out short.
MOST_LOOKED_AT = 5000
LOOKED_AT_ONCE = 200
# Time to say, in the stream, that it ends: a stream that is open is paid for.
MARGIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Shown:
    """Which documents a listing shows: those that `asker` may see, whose key begins with `prefix`, in that state.

    `is_one` is for the document of that very key.
    """

    registry: DocumentRegistry
    asker: Principal
    prefix: str = ""
    state: DocumentState | None = None
    is_one: bool = False

    def has(self, document: Document) -> bool:
        """Whether it shows the document."""
        return (
            self.may_have(document.key) and self.state in {None, document.state} and self.asker.may_see(document.groups)
        )

    def may_have(self, key: str) -> bool:
        """Whether a document of that key could be shown."""
        return key == self.prefix if self.is_one else key.startswith(self.prefix)

    async def page(self, after: str, limit: int) -> dict[str, Any]:
        """`GET /documents`: `documents`, `next` (what to go on behind; null at the end), and `counts` by state."""
        documents, following, counts = await self.documents(after, limit)
        return {
            "documents": [schemas.document_payload(document) for document in documents],
            "next": following or None,
            "counts": _by_name(counts),
        }

    async def documents(self, after: str, limit: int) -> tuple[list[Document], str, dict[DocumentState, int]]:
        """Up to `limit` documents behind that key, what to go on behind, and how many there are in each state."""
        found: list[Document] = []
        looked_at, tenant = 0, self.asker.tenant
        while True:
            # One more tells whether there are more. Where little may be seen, small pages would take many rounds.
            wanted = limit - len(found) + 1
            at_once = limit and (max(wanted, LOOKED_AT_ONCE) if looked_at else wanted)
            page = await self.registry.page(tenant, after=after, prefix=self.prefix, state=self.state, limit=at_once)
            found += filter(self.has, page.documents)
            looked_at += len(page.documents)
            after = page.next
            if len(found) > limit:
                found, after = found[:limit], found[limit - 1].key
            if not after or len(found) >= limit or looked_at >= MOST_LOOKED_AT:
                return found, after, page.counts(self.asker.may_see)


async def changes_of(
    shown: Shown, after: str, limit: int, deadline_seconds: float
) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
    """Events: a `document` for each of the page and for each that changes, `gone` for one that is no more, `counts`, `end`.

    Of one document there are no counts.

    It ends when all states are final, or when the time is up. While nothing changes, it only waits.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline_seconds - MARGIN_SECONDS
    registry, tenant = shown.registry, shown.asker.tenant
    position = await registry.latest_change(tenant)
    documents, _, counts = await shown.documents(after, limit)
    said = {document.key: document for document in documents}
    for document in documents:
        yield "document", schemas.document_payload(document)
    if not shown.is_one:
        yield "counts", _by_name(counts)
    while loop.time() < end and not _is_final(shown, said, counts):
        position, keys = await registry.changes(tenant, position, wait_seconds=end - loop.time())
        for key in filter(shown.may_have, keys):
            now = await registry.get(DocumentKey(key))
            if now is not None and shown.has(now):
                if said.get(key) != now:
                    said[key] = now
                    yield "document", schemas.document_payload(now)
            elif said.pop(key, None) is not None:
                yield "gone", {"key": key}
        if keys and not shown.is_one:
            before, (_, _, counts) = counts, await shown.documents("", 0)
            if before != counts:
                yield "counts", _by_name(counts)
    yield "end", {}


def _by_name(counts: dict[DocumentState, int]) -> dict[str, Any]:
    return {str(state): number for state, number in counts.items()}


def _is_final(shown: Shown, said: dict[str, Document], counts: dict[DocumentState, int]) -> bool:
    if shown.is_one:
        return all(document.state.is_final for document in said.values())
    return not any(number for state, number in counts.items() if not state.is_final)
