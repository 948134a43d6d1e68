"""What the ledger keeps: a record of each answer, and what its asker said of it; with their JSON form, which a queue keeps."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec


class Rating(StrEnum):
    """What an asker thinks of an answer."""

    UP = "up"
    DOWN = "down"


class _Struct(msgspec.Struct, frozen=True, omit_defaults=True):
    pass


class RecordedPassage(_Struct, frozen=True):
    """A passage that an answer was made from, without its text: the document has that. `number` counts from 1."""

    number: int
    document: str
    place: str
    score: float
    similarity: float
    is_cited: bool = False


class RecordedCitation(_Struct, frozen=True):
    """A quote that an answer rests on, with the number of its passage."""

    number: int
    document: str
    quote: str


class RecordedStep(_Struct, frozen=True):
    """A call of a tool that an agent made, and how it ended."""

    tool: str
    state: str
    seconds: float


class AnswerRecord(_Struct, tag_field="kind", tag="answer", frozen=True):
    """One answer: who asked what, what came, from where, how fast, and what it cost.

    `at` is when it was asked, in seconds since the epoch; `seconds` and `first_token_seconds` count from there. `asked_as` is a
    follow-up as it stands alone. `mode`, `verdict` and `finish` are the answer's AnswerMode, CacheVerdict and FinishReason, as far
    as it came; `error` is the code of the fault that ended it, or `abandoned`. `tokens_spent` is what the asker is charged.
    """

    id: str
    tenant: str
    principal: str
    at: float
    question: str = ""
    asked_as: str = ""
    answer: str = ""
    mode: str = ""
    verdict: str = ""
    finish: str = ""
    error: str = ""
    model: str = ""
    is_fallback: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0
    judge_tokens: int = 0
    tokens_spent: int = 0
    seconds: float = 0.0
    first_token_seconds: float | None = None
    passages: tuple[RecordedPassage, ...] = ()
    citations: tuple[RecordedCitation, ...] = ()
    steps: tuple[RecordedStep, ...] = ()
    nearest: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()
    answer_id: str = ""
    conversation_id: str = ""


class FeedbackRecord(_Struct, tag_field="kind", tag="feedback", frozen=True):
    """What an asker said of an answer of theirs; said again, it replaces what was said before."""

    record: str
    tenant: str
    principal: str
    at: float
    rating: Rating
    comment: str = ""


LedgerEntry = AnswerRecord | FeedbackRecord

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(LedgerEntry)


def encode_entry(entry: LedgerEntry) -> bytes:
    """The entry as JSON."""
    return _encoder.encode(entry)


def decode_entry(data: bytes) -> LedgerEntry:
    """What `encode_entry` wrote. Raises ValueError for anything else."""
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(f"No entry of the ledger: {error}") from error


def record_of(fields: Mapping[str, Any]) -> AnswerRecord:
    """The record that has these fields. Raises ValueError where they are none of a record."""
    try:
        return msgspec.convert({**fields, "kind": "answer"}, AnswerRecord)
    except msgspec.MsgspecError as error:
        raise ValueError(f"No record of the ledger: {error}") from error


def without_content(entry: LedgerEntry) -> LedgerEntry:
    """The entry without anybody's words: what was asked, answered, quoted and said."""
    if isinstance(entry, FeedbackRecord):
        return msgspec.structs.replace(entry, comment="")
    return msgspec.structs.replace(
        entry, question="", asked_as="", answer="", citations=(), unsupported=(), conversation_id=""
    )
