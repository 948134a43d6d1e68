"""The metadata filters of Pinecone and of S3 Vectors, which are one language.

References: https://docs.pinecone.io/guides/search/filter-by-metadata,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-vectors-metadata-filtering.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def metadata_filter(body: Any) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a record's metadata fit. Raises ValueError for what is no filter. A comparison never matches a record without the field, a negative one no more than others."""
    _demand(isinstance(body, dict) and bool(body), "a filter that is not empty")
    parts = [_clause(name, value) for name, value in body.items()]
    return lambda metadata: all(part(metadata) for part in parts)


def _clause(name: str, value: Any) -> Callable[[Mapping[str, Any]], bool]:
    if name in {"$and", "$or"}:
        _demand(isinstance(value, list) and bool(value), f"{name} with a list of filters")
        parts = [metadata_filter(part) for part in value]
        join = all if name == "$and" else any
        return lambda metadata: join(part(metadata) for part in parts)
    _demand(not name.startswith("$"), f"no operator {name} at this place")
    tests = value if isinstance(value, dict) else {"$eq": value}
    checks = [_check(operator, operand) for operator, operand in tests.items()]
    return lambda metadata: all(check(metadata.get(name)) for check in checks)


def _check(operator: str, operand: Any) -> Callable[[Any], bool]:
    if operator == "$exists":
        _demand(isinstance(operand, bool), "$exists with a boolean")
        return lambda held: (held is not None) is operand
    if operator in {"$in", "$nin"}:
        _demand(isinstance(operand, list) and bool(operand), f"{operator} with a list")
    elif operator in {"$gt", "$gte", "$lt", "$lte"}:
        _demand(isinstance(operand, int | float), f"{operator} with a number")
    comparisons: dict[str, Callable[[Any], bool]] = {
        "$eq": lambda held: _has(held, [operand]),
        "$ne": lambda held: not _has(held, [operand]),
        "$in": lambda held: _has(held, operand),
        "$nin": lambda held: not _has(held, operand),
        "$gt": lambda held: _is_number(held) and held > operand,
        "$gte": lambda held: _is_number(held) and held >= operand,
        "$lt": lambda held: _is_number(held) and held < operand,
        "$lte": lambda held: _is_number(held) and held <= operand,
    }
    _demand(operator in comparisons, f"no operator {operator}")
    return lambda held: held is not None and comparisons[operator](held)


def _has(held: Any, wanted: list[Any]) -> bool:
    values = held if isinstance(held, list) else [held]
    return any(value == one and isinstance(value, str) == isinstance(one, str) for value in values for one in wanted)


def _is_number(held: Any) -> bool:
    return isinstance(held, int | float) and not isinstance(held, bool)


def _demand(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)
