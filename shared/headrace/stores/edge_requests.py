"""Qdrant's JSON requests to the embedded engine's: the parts of the language that Headrace uses.

References: https://qdrant.tech/documentation/concepts/filtering/ and https://api.qdrant.tech/api-reference/search/query-points
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qdrant_edge as edge

FilterOf = Callable[[Mapping[str, Any] | None], edge.Filter | None]


class BadRequestError(ValueError):
    """The request is not one that this engine reads."""


FUSIONS: Mapping[str, Any] = {"rrf": lambda: edge.Fusion.Rrf(k=60), "dbsf": edge.Fusion.Dbsf}


def read_query(body: Mapping[str, Any], filter_of: FilterOf) -> edge.QueryRequest:
    """The engine's request for a JSON query. `filter_of` reads and checks a filter. Raises BadRequestError."""
    return edge.QueryRequest(
        limit=body.get("limit", 10),
        offset=body.get("offset", 0),
        query=_scoring(body.get("query"), body.get("using")),
        prefetches=_prefetches(body.get("prefetch"), filter_of),
        filter=filter_of(body.get("filter")),
        score_threshold=body.get("score_threshold"),
        with_payload=body.get("with_payload", False),
        with_vector=body.get("with_vector", False),
    )


def _prefetches(body: Any, filter_of: FilterOf) -> list[edge.Prefetch] | None:
    if body is None:
        return None
    return [
        edge.Prefetch(
            limit=part.get("limit", 10),
            query=_scoring(part.get("query"), part.get("using")),
            prefetches=_prefetches(part.get("prefetch"), filter_of),
            filter=filter_of(part.get("filter")),
            score_threshold=part.get("score_threshold"),
        )
        for part in (body if isinstance(body, list) else [body])
    ]


def _scoring(body: Any, using: str | None) -> Any:
    match body:
        case None:
            return None
        case {"nearest": vector} | ([*_] as vector) | ({"indices": _, "values": _} as vector):
            return edge.Query.Nearest(read_vector(vector), using=using)
        case {"fusion": str(name)} if name in FUSIONS:
            return FUSIONS[name]()
        case {"rrf": {"k": int(k)}}:
            return edge.Fusion.Rrf(k=k)
        case {"formula": formula}:
            return edge.Formula(_expression(formula), body.get("defaults", {}))
    raise BadRequestError(f"a query that this engine does not read: {body}")


def _expression(body: Any) -> edge.Expression:
    match body:
        case int() | float():
            return edge.Expression.Constant(float(body))
        case str():
            return edge.Expression.Variable(body)
        case {"sum": [*parts]}:
            return edge.Expression.Sum([_expression(part) for part in parts])
        case {"mult": [*parts]}:
            return edge.Expression.Mult([_expression(part) for part in parts])
    raise BadRequestError(f"a formula that this engine does not read: {body}")


def read_vector(body: Any) -> Any:
    """A dense vector, or a sparse one of `indices` and `values`."""
    return edge.SparseVector(body["indices"], body["values"]) if isinstance(body, dict) else body


def read_filter(body: Mapping[str, Any] | None) -> edge.Filter | None:
    """The engine's filter for a JSON filter; None for none. Raises BadRequestError."""
    if body is None:
        return None
    unknown = set(body) - {"must", "should", "must_not"}
    if unknown:
        raise BadRequestError(f"unknown clause {min(unknown)!r} in a filter")
    return edge.Filter(
        must=_conditions(body.get("must")),
        should=_conditions(body.get("should")),
        must_not=_conditions(body.get("must_not")),
    )


def fields_of(body: Mapping[str, Any] | None) -> set[str]:
    """Every payload key that the filter speaks of."""
    if body is None:
        return set()
    found: set[str] = set()
    for clause in ("must", "should", "must_not"):
        conditions = body.get(clause) or []
        for condition in conditions if isinstance(conditions, list) else [conditions]:
            if "key" in condition:
                found.add(condition["key"])
            elif "is_empty" in condition:
                found.add(condition["is_empty"]["key"])
            else:
                found |= fields_of(condition)
    return found


def _conditions(conditions: Any) -> list[Any] | None:
    if conditions is None:
        return None
    return [_condition(c) for c in (conditions if isinstance(conditions, list) else [conditions])]


def _condition(body: Mapping[str, Any]) -> Any:
    match body:
        case {"key": str(key), "match": {"value": value}}:
            return edge.FieldCondition(key=key, match=edge.MatchValue(value))
        case {"key": str(key), "match": {"any": [*values]}}:
            return edge.FieldCondition(key=key, match=edge.MatchAny(values))
        case {"key": str(key), "range": dict(limits)} if set(limits) <= {"gt", "gte", "lt", "lte"}:
            return edge.FieldCondition(key=key, range=edge.RangeFloat(**limits))
        case {"is_empty": {"key": str(key)}}:
            return edge.IsEmptyCondition(key=key)
        case {"has_id": [*ids]}:
            return edge.HasIdCondition(set(ids))
        case {"key": _}:
            raise BadRequestError(f"a condition that this engine does not read: {body}")
    filter_ = read_filter(body)
    assert filter_ is not None  # noqa: S101 - a mapping was given
    return filter_
