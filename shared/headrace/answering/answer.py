"""From a question to its answer's events: conversation, then cache, or search and generation."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace

import msgspec

from headrace.answering.cached import CacheQuery, answer_or_reuse, partition_of, replay
from headrace.answering.dependencies import AnswerDependencies
from headrace.answering.dialogue import Interpretation, MessageKind, interpreted
from headrace.answering.prompt import recent
from headrace.answering.respond import respond
from headrace.answering.search import search
from headrace.concurrency.stop import Stop
from headrace.errors import UnavailableError, UnknownConversationError
from headrace.protocols import Conversations
from headrace.types import (
    AnswerEvent,
    AnswerMode,
    CacheKey,
    CacheVerdict,
    DoneEvent,
    FinishReason,
    Message,
    Question,
    Stage,
    StatusEvent,
    TokenEvent,
)

logger = logging.getLogger(__name__)


async def answer(
    question: Question, deps: AnswerDependencies, stop: Stop | None = None
) -> AsyncGenerator[AnswerEvent, None]:
    """Yield the answer as it is made, ending with a DoneEvent. Raises HeadraceError, at any point.

    Once it is stopped, it ends with what was said, which the conversation keeps.
    """
    conversation = await _open_conversation(question, deps.conversations)
    if conversation is not None:
        question = replace(question, history=conversation.history)
    made = _made(question, deps)
    async with aclosing(made if stop is None else _until_stopped(made, stop)) as events:
        async for event in events:
            yield event if conversation is None else await conversation.observe(event)


async def _until_stopped(made: AsyncGenerator[AnswerEvent, None], stop: Stop) -> AsyncGenerator[AnswerEvent, None]:
    """The events, as far as they come before somebody stops the answer, and an end in any case."""
    mode, end = AnswerMode.GENERATED, None
    async with aclosing(made) as events:
        async with stop.heeded():
            async for event in events:
                if isinstance(event, DoneEvent):
                    end = event
                    break
                if isinstance(event, StatusEvent):
                    mode = event.mode or mode
                yield event
        # What is done with the end must not be stopped half-way; what comes behind it is none of the reader's business.
        yield end or DoneEvent(mode, FinishReason.STOPPED)
        async for _ in events:
            pass


async def _made(question: Question, deps: AnswerDependencies) -> AsyncGenerator[AnswerEvent, None]:
    """The question read in its conversation, then its answer."""
    asked, read = question, None
    if question.history and deps.dialogue is not None:
        asked, read = await interpreted(question, deps.dialogue)
    # What is said of the conversation has no form.
    is_chat = read is not None and read.kind is MessageKind.CONVERSATION
    if is_chat and question.options.constraint is None:
        events = _conversing(asked, deps)
    else:
        events = await _events(asked, deps)
    async with aclosing(events):
        async for event in events:
            yield event if read is None else _with_reading(event, question, read)
            if isinstance(event, StatusEvent):
                read = None


def _with_reading(event: AnswerEvent, question: Question, read: Interpretation) -> AnswerEvent:
    """The answer's first event, with what the question was read as and what that cost."""
    if not isinstance(event, StatusEvent):
        return event
    alone = "" if read.question == question.text or read.kind is MessageKind.CONVERSATION else read.question
    return msgspec.structs.replace(event, question=alone, reading_tokens=read.usage.total_tokens)


async def _conversing(question: Question, deps: AnswerDependencies) -> AsyncGenerator[AnswerEvent, None]:
    """An answer from the conversation, which is nobody else's."""
    assert deps.dialogue is not None, "who reads messages converses, too"  # noqa: S101
    async with aclosing(deps.dialogue.converse(question)) as events:
        async for event in events:
            is_status = isinstance(event, StatusEvent)
            yield msgspec.structs.replace(event, cache=CacheVerdict.BYPASS) if is_status else event


async def _events(question: Question, deps: AnswerDependencies) -> AsyncGenerator[AnswerEvent, None]:
    """The answer's events from whoever has them: the cache, another asker's flight, or a new search."""
    partition = partition_of(question, deps)
    if partition is None:
        return _unshared(question, deps)
    key = CacheKey(partition, question.text)
    # Likely to be a new question: it is embedded while the cache looks for it.
    if not deps.cache.expects(key):
        deps.retriever.begin_embedding(question.text)
    try:
        lookup = await deps.cache.find(key)
    except asyncio.CancelledError:
        # Whoever asked has left.
        deps.retriever.give_up_embedding(question.text)
        raise
    if lookup.entry is not None and lookup.entry.fresh:
        return _iterate(replay(lookup.entry))
    tenant, revision = question.principal.tenant, lookup.revision
    if revision is None:
        revision = await deps.registry.revision(tenant)
    # Askers share a flight only if they saw the same revision: after a change, none may get an answer begun before it.
    flight = f"{tenant}/{key.answer_id}@{revision}"
    query = CacheQuery(question, key, lookup, revision)
    return deps.single_flight.subscribe(
        flight, lambda: answer_or_reuse(query, deps), relayed=lookup.revision is not None
    )


async def _unshared(question: Question, deps: AnswerDependencies) -> AsyncGenerator[AnswerEvent, None]:
    """An answer that is made for this asker alone, and not kept."""
    yield StatusEvent(Stage.SEARCHING, cache=CacheVerdict.BYPASS)
    retrieval = await search(question, deps)
    async with aclosing(respond(question, retrieval, deps)) as events:
        async for event in events:
            yield event


async def _iterate(events: Iterable[AnswerEvent]) -> AsyncGenerator[AnswerEvent, None]:
    for event in events:
        yield event


class _Conversation:
    """A conversation that is kept here: it collects the answer's text, and appends the new turns at its end.

    `history` are the turns before the question, `unkept` those of them that are not remembered under its name yet.
    Without a name, nothing is remembered.
    """

    def __init__(
        self,
        conversations: Conversations,
        question: Question,
        name: str | None,
        history: Sequence[Message],
        unkept: Sequence[Message] = (),
    ) -> None:
        self.history = history
        self._conversations = conversations
        self._question = question
        self._name = name
        self._unkept = unkept
        self._text: list[str] = []

    async def observe(self, event: AnswerEvent) -> AnswerEvent:
        """Take note of an event; the last one is given back with the conversation's id."""
        if self._name is None:
            return event
        if isinstance(event, TokenEvent):
            self._text.append(event.text)
        elif isinstance(event, StatusEvent) and event.stage is Stage.RESTARTED:
            self._text.clear()
        elif isinstance(event, DoneEvent):
            is_waiting = event.finish_reason is FinishReason.TOOL_CALLS
            if is_waiting or (event.finish_reason is FinishReason.STOPPED and not self._text):
                # Nothing was said that a next question could go on from.
                return msgspec.structs.replace(event, conversation_id=self._name)
            turns = [Message("user", self._question.text), Message("assistant", "".join(self._text))]
            try:
                await self._conversations.append(
                    self._question.principal, self._name, [*self._unkept, *turns], listed=self._question.history is None
                )
            except UnavailableError as error:
                # The answer is made and paid for; that it is forgotten is no reason to withhold it.
                logger.warning("A turn is not remembered: %s", error)
                return msgspec.structs.replace(event, conversation_id=self._name, forgotten=True)
            return msgspec.structs.replace(event, conversation_id=self._name)
        return event


async def _open_conversation(question: Question, conversations: Conversations) -> _Conversation | None:
    """The question's conversation with its turns so far; None when the caller keeps it himself.

    Raises UnknownConversationError when it follows one that nobody remembers.
    """
    if question.history is None:
        name = question.conversation_id or uuid.uuid4().hex
        turns = await conversations.history(question.principal, name) if question.conversation_id else ()
        return _Conversation(conversations, question, name, turns)
    if not (question.follows or question.remember_as):
        return None
    history = list(question.history)
    if question.follows:
        before = await conversations.history(question.principal, question.follows)
        if not before:
            raise UnknownConversationError(
                f"There is no response {question.follows!r} to go on from, or it has expired. Send its turns along.",
                param="previous_response_id",
            )
        history = [*before, *history]
    # What no later question would read is not kept once more under each name.
    return _Conversation(conversations, question, question.remember_as, history, unkept=recent(history))
