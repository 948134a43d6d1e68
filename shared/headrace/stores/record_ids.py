"""What a chunk is called in a store whose records have one name each."""

from __future__ import annotations

import hashlib

from headrace.types import ChunkId


def document_prefix(document_key: str) -> str:
    """What the ids of all of a document's records begin with."""
    return f"{hashlib.sha256(document_key.encode()).hexdigest()[:32]}#"


def record_id(identity: ChunkId) -> str:
    """`document#generation#index`: ids can be listed by prefix, and tell the generation."""
    return f"{document_prefix(identity.document_key)}{identity.generation}#{identity.position}"


def generation_of(record: str) -> int:
    """The generation that a record's id tells."""
    return int(record.split("#")[1])
