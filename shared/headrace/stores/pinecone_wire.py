"""Headrace's words to Pinecone's JSON and back: records, metadata filters, queries.

Reference: https://docs.pinecone.io/reference/api (vectors plane)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from headrace.filters import parse_filter
from headrace.ranking import by_score, words_of
from headrace.stores.mongo_filters import compile_filter
from headrace.stores.payloads import chunk_of, payload_of
from headrace.stores.record_ids import record_id
from headrace.text.lexical import chunk_weights
from headrace.types import EmbeddedChunk, Passage, Query, SearchRequest

MAX_NAME_CHARACTERS = 45


def index_name(collection: str) -> str:
    """The collection's name within Pinecone's limits: 45 letters, digits and dashes."""
    name = collection.lower().replace("_", "-")
    if len(name) <= MAX_NAME_CHARACTERS:
        return name
    return f"{name[: MAX_NAME_CHARACTERS - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def namespace_of(tenant: str) -> str:
    """A tenant's namespace."""
    return quote(tenant, safe="")


def record(embedded: EmbeddedChunk) -> dict[str, Any]:
    """A chunk as a record."""
    chunk = embedded.chunk
    weights = chunk_weights(chunk.text_to_embed)
    sparse = {"sparseValues": {"indices": list(weights), "values": list(weights.values())}} if weights else {}
    return {
        "id": record_id(chunk.identity),
        "values": [float(x) for x in embedded.vector],
        # Pinecone refuses null, and an empty list says no more than a missing field.
        "metadata": {name: value for name, value in payload_of(chunk).items() if value not in (None, [])},
        **sparse,
    }


def query_body(request: SearchRequest, query: Query) -> dict[str, Any]:
    """The query for one way of asking. Dense and sparse are one dot product there: weighting the question is enough."""
    words = words_of(request, query)
    weight = request.dense_weight if words else 1.0
    sparse = {"indices": list(words), "values": [(1 - weight) * value for value in words.values()]}
    return {
        "namespace": namespace_of(request.scope.tenant),
        "topK": request.limit,
        "vector": [weight * x for x in query.vector],
        "filter": _visible(request),
        "includeMetadata": True,
        "includeValues": False,
        **({"sparseVector": sparse} if words else {}),
    }


def passage_of(request: SearchRequest, query: Query, found: Mapping[str, Any]) -> Passage:
    """A match as a passage."""
    return by_score(request, query, chunk_of(found["metadata"]), float(found["score"]))


def _visible(request: SearchRequest) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"labels": {"$in": list(request.scope.labels)}}]
    if request.without:
        parts.append({"generation": {"$nin": sorted(request.without)}})
    given = parse_filter(request.filter)
    return {"$and": [*parts, compile_filter(given, everywhere="text")]} if given.parts else {"$and": parts}
