"""From a question and what was found for it to its answer's events, whoever makes them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from headrace.answering.dependencies import AnswerDependencies
from headrace.answering.dialogue import MessageKind
from headrace.answering.generation import answer_from
from headrace.types import AnswerEvent, Question, Retrieval, StatusEvent


async def respond(
    question: Question, retrieval: Retrieval, deps: AnswerDependencies
) -> AsyncGenerator[AnswerEvent, None]:
    """The answer's events, from its `answering` status to its DoneEvent.

    Where nothing was found that surely speaks of the question, it may ask nothing of the documents: a model reads it first.
    """
    tokens = 0
    events = answer_from(question, retrieval.passages, deps.answerer)
    if deps.dialogue is not None and not (retrieval.is_sure or question.is_interpreted or question.history):
        read = await deps.dialogue.interpret(question)
        if read is not None:
            tokens = read.usage.total_tokens
            if read.kind is MessageKind.CONVERSATION:
                events = deps.dialogue.converse(question)
    async with aclosing(events):
        async for event in events:
            yield msgspec.structs.replace(event, reading_tokens=tokens) if isinstance(event, StatusEvent) else event
