"""From passages to an answer's events: a refusal when there are none, else what the answerer makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace

from headrace.answering.citations import CitationFilter
from headrace.answering.limits import within
from headrace.answering.phrases import phrases_for
from headrace.answering.prompt import PROMPT_VERSION, REFUSAL_MARK, build_messages
from headrace.answering.verification import unsupported
from headrace.answering.writing import Writing
from headrace.concurrency.tasks import running
from headrace.protocols import Answerer, ChatModel
from headrace.types import (
    AnswerEvent,
    AnswerMode,
    DoneEvent,
    FinishReason,
    ModelChunk,
    Passage,
    PassagesEvent,
    Question,
    Stage,
    StatusEvent,
    TokenEvent,
    Usage,
    UsageEvent,
)


def answer_from(
    question: Question, passages: Sequence[Passage], answerer: Answerer
) -> AsyncGenerator[AnswerEvent, None]:
    """The events of an answer from these passages, from its `answering` status to its DoneEvent."""
    # An answerer that needs a certain match knows by itself when there is none, and why; another one looks further.
    if passages or answerer.needs_certain_match or answerer.searches:
        return answerer.answer(question, passages)
    return within(refuse(phrases_for(question.text).refusal), question.options)


def refuse(reason: str) -> Iterator[AnswerEvent]:
    """The events of an answer that says that there is none."""
    yield StatusEvent(Stage.ANSWERING, AnswerMode.REFUSED)
    yield PassagesEvent(())
    yield TokenEvent(reason)
    yield UsageEvent(Usage())
    yield DoneEvent(AnswerMode.REFUSED, FinishReason.REFUSED)


class LanguageModelAnswerer:
    """An Answerer in which a language model writes, citing passage n as `[n]`."""

    name = "headrace"
    reads_history = True
    needs_certain_match = False
    searches = False
    keeps_forms = True

    def __init__(self, model: ChatModel, *, max_tokens: int) -> None:
        self._model = model
        self._max_tokens = max_tokens

    async def check(self) -> None:
        await self._model.check()

    def sharing_key(self, question: Question) -> str | None:
        if question.history:
            return None
        return f"{self._model.name}/{PROMPT_VERSION}/{self._max_tokens}"

    async def answer(self, question: Question, passages: Sequence[Passage]) -> AsyncGenerator[AnswerEvent, None]:
        if question.options.constraint is not None:
            from headrace.answering.structured import structured_answer

            answered = structured_answer(
                question,
                question.options.constraint,
                passages,
                self._model,
                max_tokens=self._max_tokens,
                shown=as_shown(passages, question),
            )
            async with aclosing(answered) as events:
                async for event in events:
                    yield event
            return
        citations, refusal = CitationFilter(passages), RefusalMark()
        shown, writing = "", Writing(self._model)
        options = question.options
        messages = build_messages(question.text, passages, question.history or (), options.style)
        limit = options.limit(self._max_tokens)
        chunks = self._model.stream(messages, max_tokens=limit, options=options.model)
        async with aclosing(chunks), running(_next(chunks)) as first:
            # The model is asked before readers are told what it gets.
            await asyncio.sleep(0)
            yield StatusEvent(Stage.ANSWERING, AnswerMode.GENERATED)
            yield PassagesEvent(as_shown(passages, question))
            chunk = await first
            while chunk is not None:
                for event in citations.feed(refusal.feed(writing.observe(chunk))):
                    shown += event.text if isinstance(event, TokenEvent) else ""
                    yield event
                chunk = await anext(chunks, None)
        for event in (*citations.feed(refusal.close()), *citations.close()):
            shown += event.text if isinstance(event, TokenEvent) else ""
            yield event
        mode, reason = AnswerMode.GENERATED, writing.finish_reason
        yield UsageEvent(writing.usage)
        if reason is FinishReason.STOP and not citations.cited and refusal.is_there:
            mode, reason = AnswerMode.REFUSED, FinishReason.REFUSED
        doubts = () if mode is AnswerMode.REFUSED else tuple(unsupported(shown, passages, question.text))
        yield writing.done(mode, reason, unsupported=doubts)


async def _next(chunks: AsyncGenerator[ModelChunk, None]) -> ModelChunk | None:
    """The stream's next chunk; None at its end."""
    return await anext(chunks, None)


class RefusalMark:
    """Takes the mark of a refusal off an answer's beginning, which comes in pieces."""

    def __init__(self) -> None:
        self._held = ""
        self._is_decided = False
        self._is_behind_mark = False
        self.is_there = False

    def feed(self, text: str) -> str:
        """What can be said now."""
        if self._is_decided:
            # Nor is the space behind it said.
            said = text.lstrip() if self._is_behind_mark else text
            self._is_behind_mark = self._is_behind_mark and not said
            return said
        self._held += text
        begun = self._held.lstrip()
        if len(begun) < len(REFUSAL_MARK) and REFUSAL_MARK.startswith(begun):
            return ""
        self._is_decided = True
        held, self._held = self._held, ""
        self.is_there = begun.startswith(REFUSAL_MARK)
        said = begun.removeprefix(REFUSAL_MARK).lstrip() if self.is_there else held
        self._is_behind_mark = self.is_there and not said
        return said

    def close(self) -> str:
        """What was held back."""
        held, self._held = self._held, ""
        return held


def as_shown(passages: Sequence[Passage], question: Question) -> tuple[Passage, ...]:
    """The passages as readers and the cache get them: the text around a passage is for the model, and for who asks for a fresh answer."""
    if question.is_fresh:
        return tuple(replace(passage, found_by="") for passage in passages)
    return tuple(replace(passage, found_by="", context="") for passage in passages)
