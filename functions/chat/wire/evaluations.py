"""Evaluations as JSON values: what `make evaluate` sends to be kept, and what admins get."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from headrace.types import EvaluatedQuestion, Evaluation, Principal, ScoreEstimate, struct_fields

ScoreName = Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class ScoreBody(BaseModel):
    """A score's mean over `count` questions, with its 95 % interval."""

    model_config = ConfigDict(extra="forbid")

    mean: Share
    low: Share
    high: Share
    count: int = Field(ge=1)


class QuestionBody(BaseModel):
    """One question's scores. `record` is the `X-Request-Id` of its answer."""

    model_config = ConfigDict(extra="forbid")

    question: str = Field(min_length=1, max_length=8000)
    scores: dict[ScoreName, Share] = Field(max_length=20)
    seconds: float = Field(ge=0.0)
    tokens: int = Field(ge=0)
    record: str = Field(default="", pattern=r"^([0-9a-f]{16})?$")
    fault: str = Field(default="", max_length=2000)


class EvaluationBody(BaseModel):
    """`POST /admin/evaluations`. `name` is the set's; `seconds` is the median of its answers."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    scores: dict[ScoreName, ScoreBody] = Field(min_length=1, max_length=20)
    questions: list[QuestionBody] = Field(min_length=1, max_length=2000)
    seconds: float = Field(ge=0.0)

    @property
    def records(self) -> Sequence[str]:
        """The names of the answers' records."""
        return [each.record for each in self.questions if each.record]

    def evaluation(self, asker: Principal, dollars: float | None) -> Evaluation:
        """What is kept."""
        return Evaluation(
            id=secrets.token_hex(8),
            tenant=asker.tenant,
            principal=asker.owner,
            at=round(time.time(), 3),
            name=self.name,
            scores={name: ScoreEstimate(**each.model_dump()) for name, each in self.scores.items()},
            questions=tuple(EvaluatedQuestion(**each.model_dump()) for each in self.questions),
            seconds=self.seconds,
            tokens=sum(each.tokens for each in self.questions),
            dollars=dollars,
        )


def evaluation_line(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation in a list: without its questions."""
    return {name: value for name, value in struct_fields(evaluation).items() if name not in {"questions", "tenant"}}


def evaluation_payload(evaluation: Evaluation) -> dict[str, Any]:
    """A whole evaluation."""
    questions = [struct_fields(each) for each in evaluation.questions]
    return {**evaluation_line(evaluation), "questions": questions}
