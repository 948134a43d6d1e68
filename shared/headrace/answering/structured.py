"""Answers of a guaranteed form: JSON, one of some options, or a text by an expression or a grammar; citations beside them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from headrace.answering.attribution import attributed
from headrace.answering.envelope import Envelope, enveloped
from headrace.answering.phrases import phrases_for
from headrace.answering.prompt import GRAMMAR_WAYS, JSON_WAYS, build_messages
from headrace.answering.writing import Writing
from headrace.constrained.checking import check_text
from headrace.constrained.forms import schema_of
from headrace.constrained.reasons import ConstraintError
from headrace.errors import ModelProtocolError
from headrace.protocols import ChatModel
from headrace.types import (
    AnswerEvent,
    AnswerMode,
    Citation,
    CitationEvent,
    Constraint,
    FinishReason,
    Grammar,
    Passage,
    PassagesEvent,
    Question,
    Regex,
    Stage,
    StatusEvent,
    TokenEvent,
    Unsupported,
    UsageEvent,
)


async def structured_answer(
    question: Question,
    constraint: Constraint,
    passages: Sequence[Passage],
    model: ChatModel,
    *,
    max_tokens: int,
    shown: Sequence[Passage],
) -> AsyncGenerator[AnswerEvent, None]:
    """The events of an answer that satisfies the constraint, or says that there is none. Raises what the model raises."""
    yield StatusEvent(Stage.ANSWERING, AnswerMode.GENERATED)
    yield PassagesEvent(tuple(shown))
    writing, options = Writing(model), question.options
    asked, ways, form, opened = constraint, GRAMMAR_WAYS, "", None
    if isinstance(constraint, Grammar) and not constraint.regex:
        form = constraint.text
    else:
        alike = Regex(constraint.regex) if isinstance(constraint, Grammar) else constraint
        asked, ways, opened = enveloped(alike), JSON_WAYS, Envelope(alike)
        form = json.dumps(schema_of(alike), ensure_ascii=False)
    messages = build_messages(question.text, passages, question.history or (), options.style, ways=ways, form=form)
    said = ""
    chunks = model.stream(messages, max_tokens=options.limit(max_tokens), constraint=asked, options=options.model)
    async with aclosing(chunks):
        async for chunk in chunks:
            text = writing.observe(chunk)
            if piece := text if opened is None else opened.feed(text):
                said += piece
                yield TokenEvent(piece)
    reason = writing.finish_reason
    if reason is not FinishReason.STOP:
        # It was cut off, and says so.
        yield UsageEvent(writing.usage)
        yield writing.done(AnswerMode.GENERATED, reason, constraint=writing.constraint)
        return
    value, rest = (said, "") if opened is None else _closed(opened, model)
    if value is None:
        yield StatusEvent(Stage.ANSWERING, AnswerMode.REFUSED)
        yield TokenEvent(phrases_for(question.text).refusal)
        yield UsageEvent(writing.usage)
        yield writing.done(AnswerMode.REFUSED, FinishReason.REFUSED)
        return
    said += rest
    _check(said, constraint, model)
    if rest:
        yield TokenEvent(rest)
    doubts = []
    for found in attributed(value, passages, question.text):
        # A value takes some milliseconds, and an answer may have hundreds: others have their turn between two.
        await asyncio.sleep(0)
        match found:
            case Citation():
                yield CitationEvent(found)
            case Unsupported():
                doubts.append(found)
    yield UsageEvent(writing.usage)
    yield writing.done(
        AnswerMode.GENERATED,
        reason,
        unsupported=tuple(doubts),
        constraint=writing.constraint,
        captures=_captures(said, constraint),
    )


def _captures(said: str, constraint: Constraint) -> dict[str, str] | None:
    """What the named parts of a grammar took of the answer."""
    if not isinstance(constraint, Grammar):
        return None
    from headrace.constrained.grammars import captures_of

    return captures_of(said.strip(), constraint) or None


def _closed(opened: Envelope, model: ChatModel) -> tuple[Any, str]:
    try:
        return opened.close()
    except (ValueError, KeyError, TypeError):
        raise ModelProtocolError(
            f"The language model {model.name!r} did not write the form that was asked for."
        ) from None


def _check(said: str, constraint: Constraint, model: ChatModel) -> None:
    """What the envelope allowed is held against the constraint itself."""
    try:
        check_text(said.strip(), constraint)
    except ConstraintError as error:
        raise ModelProtocolError(
            f"The language model {model.name!r} did not write the form that was asked for. {error}"
        ) from None
