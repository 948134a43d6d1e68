"""The portable filter language: a small Mongo-like subset, checked once and compiled by each store.

Operators: $eq $ne $gt $gte $lt $lte $in $nin $exists $and $or, over flat keys.
A list value matches if any element does; $ne and $nin match a missing field.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from headrace.errors import InvalidInputError
from headrace.types import Chunk

FIELDS = frozenset({"document", "language", "name", "page", "section", "tags"})
NUMBERS = frozenset({"page"})
ORDERING = frozenset({"$gt", "$gte", "$lt", "$lte"})
LARGEST_NUMBER = 2**53
SCALAR_OPERATORS = frozenset({"$eq", "$ne"}) | ORDERING
LIST_OPERATORS = frozenset({"$in", "$nin"})
MAX_DEPTH = 8
MAX_VALUES = 100
# Of a whole filter: comparisons, each value of a list being one, and characters of text in it.
MAX_LEAVES = 200
MAX_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class Condition:
    """One field compared with a value: a scalar, a tuple for `$in` and `$nin`, a bool for `$exists`."""

    field: str
    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class AllOf:
    """True when every part is."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True when any part is."""

    parts: tuple[Filter, ...]


Filter = Condition | AllOf | AnyOf


def parse_filter(expression: Mapping[str, Any]) -> AllOf:
    """Check an expression and return it as a tree. Raises InvalidInputError that names what is wrong."""
    parsed = _parse(expression, 0)
    values = list(_values(parsed))
    if len(values) > MAX_LEAVES:
        raise _invalid(f"it compares more than {MAX_LEAVES} values")
    if sum(len(value) for value in values if isinstance(value, str)) > MAX_CHARACTERS:
        raise _invalid(f"its texts have more than {MAX_CHARACTERS:,} characters")
    return parsed


def _parse(expression: Mapping[str, Any], depth: int) -> AllOf:
    if depth > MAX_DEPTH:
        raise _invalid(f"it is nested deeper than {MAX_DEPTH} levels")
    if not isinstance(expression, Mapping):
        raise _invalid("each part must be an object")
    parts: list[Filter] = []
    for key, value in expression.items():
        if key in {"$and", "$or"}:
            parts.append(_group(key, value, depth))
        elif key in FIELDS:
            parts.extend(_conditions(key, value))
        else:
            raise _invalid(f"{key[:100]!r} is neither $and, $or nor one of the fields {', '.join(sorted(FIELDS))}")
    return AllOf(tuple(parts))


def _values(part: Filter) -> Iterator[Any]:
    """Every value that a filter compares with; a group without a comparison counts as one."""
    match part:
        case Condition(value=value):
            yield from value if isinstance(value, tuple) else (value,)
        case AllOf(parts) | AnyOf(parts):
            yield from (value for each in parts for value in _values(each)) if parts else (None,)


def matches(part: Filter, fields: Mapping[str, Any]) -> bool:
    """Whether a chunk's fields satisfy a filter: what every store has to agree with. A missing field is None or ()."""
    match part:
        case AllOf(parts):
            return all(matches(p, fields) for p in parts)
        case AnyOf(parts):
            return any(matches(p, fields) for p in parts)
        case Condition(field, "$ne", value):
            return not matches(Condition(field, "$eq", value), fields)
        case Condition(field, "$nin", value):
            return not matches(Condition(field, "$in", value), fields)
        case Condition(field, comparison, value):
            held = fields.get(field)
            values = held if isinstance(held, tuple) else () if held is None else (held,)
            if comparison == "$exists":
                return bool(values) is value
            return any(_COMPARISONS[comparison](one, value) for one in values)


def fields_of(chunk: Chunk) -> dict[str, Any]:
    """What a filter speaks of, of one chunk."""
    return {
        "document": chunk.document_key,
        "language": chunk.language or None,
        "name": chunk.name,
        "page": chunk.page,
        "section": chunk.section,
        "tags": chunk.tags,
    }


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$eq": operator.eq, "$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le,
    "$in": lambda one, values: one in values,
}  # fmt: skip


def _group(key: str, value: object, depth: int) -> Filter:
    if not isinstance(value, list) or not value or len(value) > MAX_VALUES:
        raise _invalid(f"{key} takes a list of 1 to {MAX_VALUES} filters")
    parts = tuple(_parse(part, depth + 1) for part in value)
    return AllOf(parts) if key == "$and" else AnyOf(parts)


def _conditions(field: str, value: object) -> list[Filter]:
    if not isinstance(value, Mapping):
        return [Condition(field, "$eq", _scalar(field, value))]
    return [Condition(field, operator, _operand(field, operator, operand)) for operator, operand in value.items()]


def _operand(field: str, operator: str, operand: object) -> object:
    if operator in ORDERING and field not in NUMBERS:
        raise _invalid(f"{operator} compares numbers, and {field!r} is text")
    if operator in SCALAR_OPERATORS:
        return _scalar(field, operand)
    if operator in LIST_OPERATORS:
        if not isinstance(operand, list) or not operand or len(operand) > MAX_VALUES:
            raise _invalid(f"{operator} takes a list of 1 to {MAX_VALUES} values")
        return tuple(_scalar(field, item) for item in operand)
    if operator == "$exists":
        if not isinstance(operand, bool):
            raise _invalid("$exists takes true or false")
        return operand
    raise _invalid(f"{operator[:100]!r} is not an operator of the filter language")


def _scalar(field: str, value: object) -> str | int | float:
    """A value of the field's kind. JSON's NaN and infinities, and numbers beyond what a double holds, are none."""
    if field not in NUMBERS:
        if not isinstance(value, str) or not _is_unicode(value):
            raise _invalid(f"{field!r} is compared with text")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST_NUMBER:
        raise _invalid(f"{field!r} is compared with a number")
    return value


def _is_unicode(text: str) -> bool:
    """False for half a surrogate pair, which JSON lets through and no store takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _invalid(what: str) -> InvalidInputError:
    return InvalidInputError(f"The filter can't be used: {what}. See docs/api.md.", param="filter")
