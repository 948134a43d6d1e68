"""Records as rows of the ledger's tables, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from headrace.ledger.pricing import Pricing
from headrace.types import (
    AnswerRecord,
    Evaluation,
    FeedbackRecord,
    Rating,
    evaluation_of,
    record_of,
    struct_fields,
)

LISTS = ("passages", "citations", "steps", "nearest", "unsupported")
STRUCTURES = ("scores", "questions")


def answer_row(record: AnswerRecord, pricing: Pricing) -> dict[str, Any]:
    """The values of a record's row."""
    fields = struct_fields(record)
    lists = {name: json.dumps(fields[name], ensure_ascii=False, separators=(",", ":")) for name in LISTS}
    day = datetime.fromtimestamp(record.at, UTC).date().isoformat()
    return {**{n: _plain(v) for n, v in fields.items()}, **lists, "day": day, "dollars": pricing.dollars(record)}


def record_in(row: Mapping[str, Any]) -> AnswerRecord:
    """The record that a row has."""
    fields = {name: row[name] for name in AnswerRecord.__struct_fields__}
    return record_of(fields | {name: json.loads(row[name]) for name in LISTS})


def feedback_row(feedback: FeedbackRecord) -> dict[str, Any]:
    """The values of a feedback's row."""
    fields = {name: getattr(feedback, name) for name in feedback.__struct_fields__}
    return {name: _plain(value) for name, value in fields.items()}


def feedback_in(row: Mapping[str, Any]) -> FeedbackRecord:
    """The feedback that a row has."""
    return FeedbackRecord(
        row["record"], row["tenant"], row["principal"], row["at"], Rating(row["rating"]), row["comment"]
    )


def evaluation_row(evaluation: Evaluation) -> dict[str, Any]:
    """The values of an evaluation's row."""
    fields = struct_fields(evaluation)
    written = {name: json.dumps(fields[name], ensure_ascii=False, separators=(",", ":")) for name in STRUCTURES}
    return {name: _plain(value) for name, value in {**fields, **written}.items()}


def evaluation_in(row: Mapping[str, Any]) -> Evaluation:
    """The evaluation that a row has; without its questions where the row has none."""
    return evaluation_of({**row, **{name: json.loads(row[name]) for name in STRUCTURES if name in row}})


def _plain(value: Any) -> Any:
    """The value as databases take it: Postgres has no character 0 in its texts."""
    return str(value).replace("\0", "�") if isinstance(value, str) else value
