"""Evaluations: how good the answers to a set of questions were, as the ledger keeps them; with their JSON form."""

from __future__ import annotations

from typing import Any

import msgspec


class ScoreEstimate(msgspec.Struct, frozen=True):
    """A score's mean over `count` questions, from 0 to 1; between `low` and `high` with 95 % confidence."""

    mean: float
    low: float
    high: float
    count: int


class EvaluatedQuestion(msgspec.Struct, frozen=True, omit_defaults=True):
    """One question's scores by name, and the record of its answer. `fault` is why it got none."""

    question: str
    scores: dict[str, float]
    seconds: float = 0.0
    tokens: int = 0
    record: str = ""
    fault: str = ""


class Evaluation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One run of a set of questions. `name` is the set's, `at` when it ended, in seconds since the epoch.

    `seconds` is the median of its answers, `tokens` their sum; `dollars` is what they cost, None where a price is not known.
    """

    id: str
    tenant: str
    principal: str
    at: float
    name: str
    scores: dict[str, ScoreEstimate]
    questions: tuple[EvaluatedQuestion, ...] = ()
    seconds: float = 0.0
    tokens: int = 0
    dollars: float | None = None


def evaluation_of(fields: dict[str, Any]) -> Evaluation:
    """The evaluation that has these fields. Raises ValueError where they are none of one."""
    try:
        return msgspec.convert(fields, Evaluation)
    except msgspec.MsgspecError as error:
        raise ValueError(f"No evaluation: {error}") from error


def without_questions(evaluation: Evaluation) -> Evaluation:
    """The evaluation without anybody's words: the scores of its questions, and their records."""
    bare = tuple(msgspec.structs.replace(each, question="", fault="") for each in evaluation.questions)
    return msgspec.structs.replace(evaluation, questions=bare)
