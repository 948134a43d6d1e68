"""Filters in the JSON that Pinecone and S3 Vectors have in common, after MongoDB's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from headrace.filters import AllOf, AnyOf, Condition, Filter

# What a value is in the store.
Operand = Callable[[Any], Any]


def compile_filter(part: Filter, *, everywhere: str, operand: Operand = lambda value: value) -> dict[str, Any]:
    """The filter as JSON. `everywhere` is a field that each record has."""
    match part:
        case AllOf(()):
            return {everywhere: {"$exists": True}}
        case AllOf(parts):
            return {"$and": [compile_filter(p, everywhere=everywhere, operand=operand) for p in parts]}
        case AnyOf(parts):
            return {"$or": [compile_filter(p, everywhere=everywhere, operand=operand) for p in parts]}
        case Condition(field, "$ne", value):
            return _not_in(field, [value], operand)
        case Condition(field, "$nin", values):
            return _not_in(field, values, operand)
        case Condition(field, "$in", values):
            return {field: {"$in": [operand(value) for value in values]}}
        case Condition(field, operator, value):
            return {field: {operator: operand(value)}}


def _not_in(field: str, values: Iterable[Any], operand: Operand) -> dict[str, Any]:
    # A comparison never matches a record without the field.
    return {"$or": [{field: {"$exists": False}}, {field: {"$nin": [operand(value) for value in values]}}]}
