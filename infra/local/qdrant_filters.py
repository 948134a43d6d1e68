"""Qdrant's JSON filters to the embedded engine's: the parts of the language that Headrace and its tests use.

Reference: https://qdrant.tech/documentation/concepts/filtering/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import qdrant_edge as edge


class BadFilterError(ValueError):
    """The filter is not one that this server reads."""


def read_filter(body: Mapping[str, Any] | None) -> edge.Filter | None:
    """The engine's filter for a JSON filter; None for none. Raises BadFilterError."""
    if body is None:
        return None
    unknown = set(body) - {"must", "should", "must_not"}
    if unknown:
        raise BadFilterError(f"unknown clause {min(unknown)!r} in a filter")
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
            raise BadFilterError(f"a condition that this server does not read: {body}")
    filter_ = read_filter(body)
    assert filter_ is not None  # noqa: S101 - a mapping was given
    return filter_
