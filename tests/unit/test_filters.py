"""Filters are checked before any store sees them."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.errors import InvalidInputError
from headrace.filters import AllOf, AnyOf, Condition, parse_filter


def test_a_filter_becomes_a_tree() -> None:
    tree = parse_filter({"page": {"$gte": 2, "$lt": 9}, "$or": [{"name": "a"}, {"section": {"$in": ["x", "y"]}}]})
    either = AnyOf((AllOf((Condition("name", "$eq", "a"),)), AllOf((Condition("section", "$in", ("x", "y")),))))
    assert tree == AllOf((Condition("page", "$gte", 2), Condition("page", "$lt", 9), either))
    assert parse_filter({}) == AllOf(())


DEEP: dict[str, Any] = {"page": 1}
for _ in range(12):
    DEEP = {"$and": [DEEP]}


@pytest.mark.parametrize(
    "expression",
    [
        {"tenant": "x"}, {"generation": 1}, {"$not": []}, {"page": {"$regex": "x"}}, {"page": {"$gt": "x"}},
        {"page": {"$in": []}}, {"page": {"$in": list(range(101))}}, {"page": None}, {"page": True}, {"page": [1]},
        {"page": {"$exists": 1}}, {"name": 3}, {"name": "\ud800"}, {"section": {"$in": ["a", "\udfff"]}}, {"page": "3"}, {"page": float("nan")}, {"page": 10**30}, {"name": {"$gt": "a"}}, {"$or": {}}, {"$or": []}, {"$and": ["x"]}, DEEP,
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_in_the_language_is_refused(expression: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="filter") as raised:
        parse_filter(expression)
    assert raised.value.param == "filter"
