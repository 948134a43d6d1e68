"""One answer held against what was expected of it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from infra.evaluation.cases import Case

# What is measured where it applies, each from 0 to 1; more is better.
SCORES = ("hit", "reciprocal_rank", "facts", "citations", "groundedness", "refusal")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one question: `scores` by name, without those that do not apply; and what it took.

    `hit`: an expected document is among the passages; `reciprocal_rank`: 1 by its place; `facts`: the share that the answer
    has; `citations`: the share of the cited documents that are expected ones; `groundedness`: the share of its statements that
    the passages bear out, where a judge has looked; `refusal`: it was refused when it should be, and only then. `record` is
    the answer's request id, `doubted` the statements that the judge has found no ground for.
    """

    question: str
    answer: str
    scores: Mapping[str, float]
    contexts: list[str] = field(default_factory=list)
    seconds: float = 0.0
    tokens: int = 0
    record: str = ""
    is_refused: bool = False
    doubted: list[str] = field(default_factory=list)
    fault: str = ""

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def score(case: Case, answer: Mapping[str, Any], seconds: float, *, record: str = "") -> Outcome:
    """The outcome of an answer as `POST /chat` gives it whole."""
    text, is_refused = str(answer["answer"]), answer["mode"] == "refused"
    scores = {"refusal": float(is_refused == case.refused)}
    if case.documents:
        found = [passage["name"] in case.documents for passage in answer["passages"]]
        scores["hit"] = float(any(found))
        scores["reciprocal_rank"] = 1.0 / (found.index(True) + 1) if any(found) else 0.0
        cited = [citation["name"] in case.documents for citation in answer["citations"]]
        scores["citations"] = sum(cited) / len(cited) if cited else 0.0
    if case.facts:
        scores["facts"] = sum(any(says(text, way) for way in ways) for ways in case.facts) / len(case.facts)
    return Outcome(
        question=case.question,
        answer=text,
        scores=scores,
        contexts=[f"{each['name']}, {each['place']}\n{each['context']}" for each in answer["passages"]],
        seconds=seconds,
        record=record,
        is_refused=is_refused,
        tokens=int(answer.get("usage", {}).get("total_tokens", 0)),
    )


def failed(case: Case, fault: str, seconds: float) -> Outcome:
    """The outcome of a question that got no answer: nothing is right."""
    scores = {"refusal": 0.0, **({"facts": 0.0} if case.facts else {})}
    scores |= dict.fromkeys(("hit", "reciprocal_rank", "citations"), 0.0) if case.documents else {}
    return Outcome(case.question, "", scores, seconds=seconds, fault=fault)


def says(text: str, fact: str) -> bool:
    """Whether the text has the fact in it as a whole: `3` is not in `38`, nor in `3.1`."""
    wanted = re.escape(_plain(fact))
    return re.search(rf"(?<![\w])(?<!\d[.,]){wanted}(?![\w])(?![.,]\d)", _plain(text)) is not None


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().replace("*", "").split())
