"""Texts of a guaranteed form: what satisfies a constraint passes, what doesn't is told why, and no constraint costs much."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from headrace.constrained.checking import check_constraint, check_text
from headrace.constrained.grammars import captures_of
from headrace.constrained.reasons import ConstraintError
from headrace.errors import InvalidInputError
from headrace.types import Choice, Constraint, Grammar, JsonSchema, Regex

LEAVE = JsonSchema(
    "leave",
    {
        "type": "object",
        "properties": {"weeks": {"type": "integer"}, "who": {"enum": ["parents", "fathers"]}},
        "required": ["weeks"],
        "additionalProperties": False,
    },
)
PERSON = Grammar('start: name " is " age\nname[capture]: /[A-Z][a-z]+/\nage[capture="years"]: /[0-9]+/\n')


@pytest.mark.parametrize(
    ("constraint", "right", "wrong"),
    [
        (LEAVE, ['{"weeks": 26}', '{"who": "fathers", "weeks": 2}'], ["26", "{}", '{"weeks": "26"}', '{"weeks": 1, "x": 2}',
            '{"weeks": NaN}', '{"weeks": 1', '{"weeks": 1} and more', '```json\n{"weeks": 1}\n```', "[" * 100_000, '{"who": "\\ud800"}']),
        (Choice(("yes", "no")), ["yes", "no"], ["", "YES", "yes no", "maybe"]),
        (Regex("[0-9]{3}-[a-z]{2,4}"), ["627-ysbs"], ["627-", "62-abc", "627-abcde", "x627-ab", "627-ab\n"]),
        (Regex("a/b|ü+"), ["a/b", "üü"], ["a", "u"]),
        (PERSON, ["Anna is 42"], ["anna is 42", "Anna is ", "Anna is 42 "]),
        (Grammar('%llguidance {}\nstart: %json {"type": "boolean"}'), ["true"], ["1", "truee"]),
    ],
)  # fmt: skip
def test_a_text_satisfies_its_constraint_or_is_told_where_it_does_not(
    constraint: Constraint, right: list[str], wrong: list[str]
) -> None:
    check_constraint(constraint)
    for text in right:
        check_text(text, constraint)
    for text in wrong:
        with pytest.raises(ConstraintError) as raised:
            check_text(text, constraint)
        assert 0 < len(str(raised.value)) < 500


def test_what_a_rule_took_is_told() -> None:
    assert captures_of("Anna is 42", PERSON) == {"name": "Anna", "years": "42"}


def _nested(depth: int, keyword: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(depth):
        schema = {keyword: [schema] if keyword == "allOf" else schema}
    return schema


@pytest.mark.parametrize(
    "constraint",
    [
        JsonSchema("x", {"type": "nope"}), JsonSchema("x", {"$ref": "http://127.0.0.1:9/x"}),
        JsonSchema("x", {"$ref": "file:///etc/passwd"}), JsonSchema("x", {"pattern": "(?=a)b"}),
        JsonSchema("x", _nested(300, "allOf")), JsonSchema("x", _nested(5_000, "items")), Regex("(a"), Regex("(?=a)b"),
        Regex("(" * 5_000 + "a" + ")" * 5_000), Grammar("start: nowhere"), Grammar("start: " + "(" * 5_000 + '"a"' + ")" * 5_000),
        Grammar("{"), Grammar("x" * 20_000), Choice(()), Choice(("a", "")),
    ],
)  # fmt: skip
def test_a_constraint_that_can_not_be_used_is_refused_at_once(constraint: Constraint) -> None:
    began = time.process_time()
    with pytest.raises(InvalidInputError):
        check_constraint(constraint)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("constraint", "text"),
    [
        (JsonSchema("x", {"$ref": "#"}), "1"), (JsonSchema("x", {"items": {"$ref": "#"}}), "[" * 900 + "]" * 900),
        (JsonSchema("x", {"pattern": "^(a+)+$"}), json.dumps("a" * 50_000 + "b")), (Regex("(a|aa)*c"), "a" * 50_000),
        (Regex("(((a{1,100}){1,100}){1,100}){1,100}"), "a" * 5_000), (Grammar('start: (("a"{1,100}){1,1000}){1,1000}'), "a" * 5_000),
        (Grammar('start: a\na: "x" a | a "x" | "y"'), "x" * 20_000), (Grammar("start: %json {}"), "[" * 20_000),
    ],
)  # fmt: skip
def test_what_means_to_keep_a_checker_busy_is_bounded(constraint: Constraint, text: str) -> None:
    began = time.process_time()
    try:
        check_constraint(constraint)
        check_text(text, constraint)
    except (InvalidInputError, ConstraintError):
        pass
    assert time.process_time() - began < 5
