"""Reads families of facts: `families.toml`, or a file of yours in the same form.

[[family]]
name = "dose"                 # what the report calls it
language = "en"               # these three are printed beside the figures
shape = "sentence"
differ = "scope"
source = "The maximum daily dose is 4 tablets for adults and 2 for children."
facts = [
{ answer = "4 tablets", questions = ["What is the maximum dose for adults?", "How much may an adult take?"] },
{ answer = "2 tablets", questions = ["What is the maximum dose for children?", "How much may a child take?"] },
]
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.errors import InvalidInputError

SHIPPED = Path(__file__).with_name("families.toml")


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: its answer, and questions that all ask for it. The first one is what a cache is asked first."""

    answer: str
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """Facts that stand in one source and are easily taken for one another."""

    name: str
    language: str
    shape: str
    differ: str
    source: str
    facts: tuple[Fact, ...]

    def fact_of(self, question: str) -> Fact:
        """The fact that the question asks for."""
        return next(fact for fact in self.facts if question in fact.questions)


def read_families(path: Path = SHIPPED) -> tuple[Family, ...]:
    """The families of a file. Raises InvalidInputError for one that can't be read."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))["family"]
        families = tuple(_family(table) for table in tables)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InvalidInputError(f"{path}: {error!r}. `python -m infra.calibration --help` shows the form.") from error
    if not any(len(fact.questions) > 1 for family in families for fact in family.facts):
        raise InvalidInputError(f"{path}: no fact has two questions, so that nothing can be measured.")
    return families


def _family(table: dict[str, Any]) -> Family:
    facts = tuple(Fact(str(fact["answer"]), tuple(map(str, fact["questions"]))) for fact in table["facts"])
    language, shape, differ = (str(table.get(name, "")) for name in ("language", "shape", "differ"))
    return Family(str(table["name"]), language, shape, differ, str(table["source"]), facts)
