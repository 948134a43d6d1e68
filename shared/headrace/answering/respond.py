"""From a question and what was found for it to its answer's events, whoever makes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import msgspec

from headrace.answering.dependencies import AnswerDependencies
from headrace.answering.dialogue import MessageKind
from headrace.answering.generation import answer_from
from headrace.errors import UnavailableError
from headrace.types import AnswerEvent, AnswerMode, DoneEvent, Principal, Question, Retrieval, StatusEvent

# A refusal waits so long for the number of documents that are still being read.
COUNT_SECONDS = 0.5


async def respond(
    question: Question, retrieval: Retrieval, deps: AnswerDependencies
) -> AsyncGenerator[AnswerEvent, None]:
    """The answer's events, from its `answering` status to its DoneEvent.

    Where nothing was found that surely speaks of the question, it may ask nothing of the documents: a model reads it first.
    """
    tokens, is_provisional = 0, False
    events: AsyncGenerator[AnswerEvent, None] | None = None
    is_plain = question.options.constraint is None
    if (
        deps.dialogue is not None
        and is_plain
        and not (retrieval.is_sure or question.is_interpreted or question.history)
    ):
        read = await deps.dialogue.interpret(question)
        is_provisional = read is None
        if read is not None:
            tokens = read.usage.total_tokens
            if read.kind is MessageKind.CONVERSATION:
                events = deps.dialogue.converse(question)
    async with aclosing(events or answer_from(question, retrieval.passages, deps.answerer)) as made:
        async for event in made:
            if isinstance(event, StatusEvent):
                yield msgspec.structs.replace(event, reading_tokens=tokens)
            elif isinstance(event, DoneEvent) and event.mode is AnswerMode.REFUSED:
                unread = await _unread(question.principal, deps)
                yield msgspec.structs.replace(
                    event, nearest=retrieval.nearest, unread=unread, provisional=is_provisional
                )
            else:
                yield event


async def _unread(asker: Principal, deps: AnswerDependencies) -> int:
    """How many documents that the asker may see are still being read; 0 when that can't be told soon."""
    with suppress(UnavailableError, TimeoutError):
        async with asyncio.timeout(COUNT_SECONDS):
            counts = (await deps.registry.page(asker.tenant, limit=0)).counts(asker.may_see)
            return sum(number for state, number in counts.items() if not state.is_final)
    return 0
