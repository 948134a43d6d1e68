"""Headrace's words to Qdrant's JSON and back: points, filters, the query that ranks by the blended score.

Reference: https://api.qdrant.tech/api-reference
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from headrace.filters import AllOf, AnyOf, Condition, Filter, parse_filter
from headrace.ranking import best_of, by_score, words_of
from headrace.stores.payloads import chunk_of, payload_of
from headrace.text.lexical import chunk_weights
from headrace.types import ChunkId, EmbeddedChunk, Passage, Query, SearchRequest

DENSE = "dense"
WORDS = "words"
# The two lists that passages are taken from are at least this long.
CANDIDATES = 40
# Qdrant Cloud's strict mode refuses to search or delete by a key that has no index.
PAYLOAD_INDEXES: Mapping[str, object] = {
    "tenant": {"type": "keyword", "is_tenant": True},
    "labels": "keyword",
    "document": "keyword",
    "generation": "integer",
    "name": "keyword",
    "section": "keyword",
    "page": "integer",
    "tags": "keyword",
    "language": "keyword",
}


def collection_config(dimensions: int) -> dict[str, Any]:
    """What a collection is made with."""
    return {
        "vectors": {DENSE: {"size": dimensions, "distance": "Cosine"}},
        "sparse_vectors": {WORDS: {}},
        # One graph a tenant instead of a global one: the published set-up for multi-tenancy.
        "hnsw_config": {"m": 0, "payload_m": 16},
    }


def point_id(identity: ChunkId) -> str:
    """A UUID that the same chunk always has."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "\x1f".join(map(str, identity))))


def point(embedded: EmbeddedChunk) -> dict[str, Any]:
    """A chunk as a point."""
    chunk = embedded.chunk
    weights = chunk_weights(chunk.text_to_embed)
    return {
        "id": point_id(chunk.identity),
        "vector": {
            DENSE: [float(x) for x in embedded.vector],
            WORDS: {"indices": list(weights), "values": list(weights.values())},
        },
        "payload": {name: value for name, value in payload_of(chunk).items() if value is not None},
    }


def search_body(request: SearchRequest, query: Query) -> dict[str, Any]:
    """The search for one way of asking: Qdrant ranks the best of both lists by the blended score itself."""
    wanted = _visible(request)
    words = words_of(request, query)
    rest: dict[str, Any] = {"limit": request.limit, "with_payload": True}
    if not words:
        return {"query": list(query.vector), "using": DENSE, "filter": wanted, **rest}
    count = max(CANDIDATES, 2 * request.limit)
    dense = {"query": list(query.vector), "using": DENSE}
    sparse = {"query": {"indices": list(words), "values": list(words.values())}, "using": WORDS}
    lists = [{**part, "limit": count, "filter": wanted} for part in (dense, sparse)]
    scored = [{**part, "limit": 2 * count, "prefetch": lists} for part in (dense, sparse)]
    weights = (request.dense_weight, 1 - request.dense_weight)
    formula = {"sum": [{"mult": [weight, f"$score[{position}]"]} for position, weight in enumerate(weights)]}
    # A point that shares no word has no score in the second list.
    return {"prefetch": scored, "query": {"formula": formula, "defaults": {"$score[1]": 0.0}}, **rest}


def passages_of(request: SearchRequest, results: Sequence[Mapping[str, Any]]) -> tuple[Passage, ...]:
    """The best passages of the searches' results, one result a query."""
    found = [
        by_score(request, query, chunk_of(point["payload"]), float(point["score"]))
        for query, result in zip(request.queries, results, strict=True)
        for point in result["points"]
    ]
    return best_of(found, request.limit)


def _visible(request: SearchRequest) -> dict[str, Any]:
    must = [
        match("tenant", request.scope.tenant),
        {"key": "labels", "match": {"any": list(request.scope.labels)}},
        _compile(parse_filter(request.filter)),
    ]
    if not request.without:
        return {"must": must}
    return {"must": must, "must_not": [{"key": "generation", "match": {"any": sorted(request.without)}}]}


def match(field: str, value: str) -> dict[str, Any]:
    """The condition that a field is, or has, this value."""
    return {"key": field, "match": {"value": value}}


def _compile(part: Filter) -> dict[str, Any]:
    match part:
        case AllOf(parts):
            return {"must": [_compile(p) for p in parts]}
        case AnyOf(parts):
            return {"should": [_compile(p) for p in parts]}
        case Condition(field, "$exists", wanted):
            return {"must_not" if wanted else "must": [{"is_empty": {"key": field}}]}
        case Condition(field, "$ne", value):
            return {"must_not": [_equals(field, value)]}
        case Condition(field, "$nin", values):
            return {"must_not": [_equals(field, value) for value in values]}
        case Condition(field, "$in", values):
            return {"should": [_equals(field, value) for value in values]}
        case Condition(field, "$eq", value):
            return _equals(field, value)
        case Condition(field, operator, value):
            return {"key": field, "range": {operator.removeprefix("$"): value}}


def _equals(field: str, value: str | float) -> dict[str, Any]:
    if isinstance(value, str):
        return match(field, value)
    # match.value 2020 misses a stored 2020.0; a range of one number does not.
    return {"key": field, "range": {"gte": value, "lte": value}}
