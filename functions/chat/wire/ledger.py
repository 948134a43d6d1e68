"""The ledger's records and sums as JSON values."""

from __future__ import annotations

import dataclasses
from typing import Any

from headrace.protocols import DayUsage, KeptRecord, Unanswered
from headrace.types import struct_fields


def usage_of(day: DayUsage) -> dict[str, Any]:
    """A day's sums."""
    return dataclasses.asdict(day) | {"dollars": round(day.dollars, 6)}


def unanswered_of(question: Unanswered) -> dict[str, Any]:
    """A question that was refused."""
    return dataclasses.asdict(question)


def line_of(kept: KeptRecord) -> dict[str, Any]:
    """A record in a list: without its passages and all that is long."""
    record = kept.record
    names = (
        "id", "principal", "at", "question", "mode", "verdict", "finish", "error", "model", "tokens_spent", "seconds",
        "first_token_seconds",
    )  # fmt: skip
    return {**{name: getattr(record, name) for name in names}, "dollars": kept.dollars, "feedback": _feedback_of(kept)}


def record_of(kept: KeptRecord) -> dict[str, Any]:
    """A whole record."""
    return {**struct_fields(kept.record), "dollars": kept.dollars, "feedback": _feedback_of(kept)}


def _feedback_of(kept: KeptRecord) -> dict[str, Any] | None:
    said = kept.feedback
    return None if said is None else {"rating": said.rating, "comment": said.comment, "at": said.at}
