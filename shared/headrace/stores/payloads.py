"""A chunk as the plain fields that a store keeps beside its vectors, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.types import Chunk

OPTIONAL = ("language", "lead", "context", "html", "spot")


def payload_of(chunk: Chunk) -> dict[str, Any]:
    """The chunk's fields, and those that are filtered by: `tenant`, `labels` and `name`. A page that is not known is None."""
    return {
        "tenant": chunk.tenant,
        "labels": list(chunk.labels),
        "document": chunk.document_key,
        "generation": chunk.generation,
        "index": chunk.index,
        "text": chunk.text,
        "name": chunk.name,
        "section": list(chunk.section),
        "page": chunk.page,
        "groups": list(chunk.groups),
        "total": chunk.total,
        "etag": chunk.etag,
        "tags": list(chunk.tags),
        # What most chunks don't have takes no room.
        **{name: value for name in OPTIONAL if (value := getattr(chunk, name))},
    }


def chunk_of(payload: Mapping[str, Any]) -> Chunk:
    """The chunk that `payload_of` described; whole numbers may have become doubles, and empty fields may be missing."""
    page = payload.get("page")
    return Chunk(
        document_key=payload["document"],
        generation=int(payload["generation"]),
        index=int(payload["index"]),
        text=payload["text"],
        page=None if page is None else int(page),
        section=tuple(payload.get("section", ())),
        groups=tuple(payload.get("groups", ())),
        total=int(payload.get("total", 0)),
        etag=payload.get("etag", ""),
        tags=tuple(payload.get("tags", ())),
        **{name: payload.get(name, "") for name in OPTIONAL},
    )
