"""Headrace's words to Amazon S3 Vectors' JSON and back: records, metadata filters, queries.

What is filtered by has 2 KB a vector, so texts are digests there, as with Redis; the chunk itself is metadata that can't
be filtered by, of which there may be 40 KB.
Reference: https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-vectors-metadata-filtering.html
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from headrace.errors import InvalidInputError
from headrace.filters import parse_filter
from headrace.ranking import rarest_words
from headrace.stores.mongo_filters import compile_filter
from headrace.stores.payloads import payload_of
from headrace.stores.record_ids import record_id
from headrace.text.lexical import chunk_weights
from headrace.types import Chunk, DocumentKey, EmbeddedChunk, Query, SearchRequest

# Metadata that can't be filtered by.
CHUNK = "chunk"
MAX_NAME_CHARACTERS = 63
TENANT_CHARACTERS = 16
FILTERABLE_BYTES = 1_900
# A term's code, its quotation marks and its comma.
TERM_BYTES = 6


def index_name(collection: str) -> str:
    """The collection's index: it holds no vector, but tells their dimensions, and that the collection is there."""
    name = re.sub(r"[^a-z0-9]+", "-", collection.lower()).strip("-")
    most = MAX_NAME_CHARACTERS - TENANT_CHARACTERS - 1
    if len(name) <= most:
        return name
    return f"{name[: most - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def tenant_index(collection: str, tenant: str) -> str:
    """A tenant's own index: others are not there to be found, nor paid for by a query."""
    return f"{index_name(collection)}-{hashlib.sha256(tenant.encode()).hexdigest()[:TENANT_CHARACTERS]}"


def record(embedded: EmbeddedChunk) -> dict[str, Any]:
    """A chunk as a vector with its metadata. Raises InvalidInputError for a chunk whose labels are too many to filter by."""
    chunk = embedded.chunk
    body = json.dumps(payload_of(chunk), ensure_ascii=False, separators=(",", ":"))
    return {
        "key": record_id(chunk.identity),
        "data": {"float32": [float(x) for x in embedded.vector]},
        "metadata": {**_filterable(chunk), CHUNK: body},
    }


def _filterable(chunk: Chunk) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "labels": _codes(chunk.labels),
        "document": _code(chunk.document_key),
        "generation": str(chunk.generation),
        "name": _code(chunk.name),
        "section": _codes(chunk.section),
        "tags": _codes(chunk.tags),
        "language": _code(chunk.language) if chunk.language else None,
        "page": chunk.page,
    }
    # An empty list says no more than a missing field.
    fields = {name: value for name, value in fields.items() if value not in (None, [])}
    room = FILTERABLE_BYTES - len(json.dumps(fields, separators=(",", ":")))
    if room < 0:
        raise InvalidInputError(
            f"{chunk.name!r} has more groups, tags and headings than S3 Vectors can filter by (2 KB a chunk). "
            "Give it fewer, or choose another VECTOR_STORE."
        )
    # A text's own words come first, what its long words may be made of last: that is left out where room is short.
    terms = list(islice(dict.fromkeys(_term(term) for term in chunk_weights(chunk.text_to_embed)), room // TERM_BYTES))
    return {**fields, "terms": terms} if terms else fields


def query_bodies(request: SearchRequest, query: Query, count: int) -> list[dict[str, Any]]:
    """The queries for one way of asking: the nearest of all that is visible, and of what carries the rarest words."""
    visible = _visible(request)
    rarest = rarest_words(request, query)
    filters = [visible, {"$and": [*visible["$and"], {"terms": {"$in": [_term(term) for term in rarest]}}]}]
    return [query_body(query.vector, each, count, with_chunks=True) for each in filters[: 2 if rarest else 1]]


def generations_query(key: DocumentKey, without: Iterable[int], dimensions: int, count: int) -> dict[str, Any]:
    """Whatever there is of a document but these generations, in no order that matters."""
    parts = [{"document": _code(key.key)}]
    seen = [str(generation) for generation in sorted(without)]
    if seen:
        parts.append({"generation": {"$nin": seen}})  # type: ignore[dict-item]
    return query_body([1.0] + [0.0] * (dimensions - 1), {"$and": parts}, count)


def generation_query(key: DocumentKey, generation: int, dimensions: int, count: int) -> dict[str, Any]:
    """What there is of one generation of a document."""
    wanted = {"$and": [{"document": _code(key.key)}, {"generation": str(generation)}]}
    return query_body([1.0] + [0.0] * (dimensions - 1), wanted, count)


def query_body(
    vector: Sequence[float], wanted: Mapping[str, Any], count: int, *, with_chunks: bool = False
) -> dict[str, Any]:
    """QueryVectors' body but for the index. ENHANCED: the filter comes first, so that nothing that fits is missed."""
    return {
        "topK": count,
        "queryVector": {"float32": [float(x) for x in vector]},
        "filter": wanted,
        "queryMode": "ENHANCED",
        "returnMetadata": with_chunks,
        "returnDistance": with_chunks,
    }


def _visible(request: SearchRequest) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"labels": {"$in": _codes(request.scope.labels)}}]
    if request.without:
        parts.append({"generation": {"$nin": [str(generation) for generation in sorted(request.without)]}})
    given = parse_filter(request.filter)
    return {"$and": [*parts, compile_filter(given, everywhere="document", operand=_operand)] if given.parts else parts}


def _operand(value: str | float) -> str | float:
    return _code(value) if isinstance(value, str) else value


def _codes(values: Iterable[str]) -> list[str]:
    return [_code(value) for value in values]


def _code(value: str) -> str:
    """What stands for a text: 66 bits in 11 characters."""
    return urlsafe_b64encode(hashlib.blake2b(value.encode(), digest_size=9).digest())[:11].decode()


def _term(term: int) -> str:
    """What stands for a word: 18 bits in 3 characters. Another word may have the same; what is found is scored by its text."""
    return urlsafe_b64encode((term & 0x3FFFF).to_bytes(3, "big"))[1:].decode()
