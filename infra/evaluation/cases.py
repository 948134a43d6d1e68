"""Sets of questions with what is expected of their answers, as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SHIPPED = Path(__file__).with_name("samples.jsonl")


class SetError(ValueError):
    """A set that can't be read; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Case:
    """A question. An answer should have each of the `facts` in it, rest on one of the `documents` (names), or be refused.

    Of a fact that may be said in several ways, the ways stand in a list.
    """

    question: str
    facts: tuple[tuple[str, ...], ...] = ()
    documents: tuple[str, ...] = ()
    refused: bool = False


def read_cases(path: Path) -> tuple[list[Case], int]:
    """The set in a file, and how many lines are drafts, for which nobody has said yet what is expected.

    Raises SetError, and OSError for a file that is not there.
    """
    cases, drafts = [], 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
            if "draft" in given:
                drafts += 1
            else:
                cases.append(_case(given))
        except (ValueError, TypeError, AttributeError) as error:
            raise SetError(f"{path}, line {number}: {error}") from error
    if not cases and drafts:
        raise SetError(f"{path} has drafts alone. Give each its facts, documents or `refused` in place of `draft`.")
    if not cases:
        raise SetError(f'{path} has no questions. A line is like {{"question": …, "facts": […], "documents": […]}}.')
    if len({case.question for case in cases}) < len(cases):
        raise SetError(f"{path} has a question twice.")
    return cases, drafts


def _case(given: dict[str, object]) -> Case:
    if strange := set(given) - {"question", "facts", "documents", "refused"}:
        raise ValueError(f"{min(strange)!r} is not known; there are question, facts, documents, refused")
    question = given.get("question")
    if not isinstance(question, str) or not question.strip():
        raise ValueError("it has no question")
    facts = tuple(_ways(fact) for fact in _listed(given.get("facts", [])))
    documents = tuple(str(name) for name in _listed(given.get("documents", [])))
    refused = given.get("refused", False)
    if not isinstance(refused, bool):
        raise ValueError("`refused` is true or false")  # noqa: TRY004 - the reader of a file gets one kind
    if refused == bool(facts or documents):
        raise ValueError("it expects nothing, or facts of a refusal: give facts, documents or `refused`")
    return Case(question, facts, documents, refused)


def _listed(value: object) -> Sequence[object]:
    if not isinstance(value, list):
        raise ValueError("facts and documents are lists")  # noqa: TRY004 - the same
    return value


def _ways(fact: object) -> tuple[str, ...]:
    return tuple(str(way) for way in fact) if isinstance(fact, list) else (str(fact),)
