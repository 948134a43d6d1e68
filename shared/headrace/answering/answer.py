"""From a question to its answer's events: conversation, then cache, or search and generation."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace

import msgspec

from headrace.answering.cached import CacheQuery, answer_or_reuse, partition_of, replay
from headrace.answering.dependencies import AnswerDependencies
from headrace.answering.generation import answer_from
from headrace.answering.search import search
from headrace.protocols import Conversations
from headrace.types import (
    AnswerEvent,
    CacheKey,
    CacheVerdict,
    DoneEvent,
    Message,
    Question,
    Stage,
    StatusEvent,
    TokenEvent,
)


async def answer(question: Question, deps: AnswerDependencies) -> AsyncGenerator[AnswerEvent, None]:
    """Yield the answer as it is made, ending with a DoneEvent. Raises HeadraceError, at any point."""
    conversation = await _open_conversation(question, deps.conversations)
    if conversation is not None:
        question = replace(question, history=conversation.history)
    async with aclosing(await _events(question, deps)) as events:
        async for event in events:
            yield event if conversation is None else await conversation.observe(event)


async def _events(question: Question, deps: AnswerDependencies) -> AsyncGenerator[AnswerEvent, None]:
    """The answer's events from whoever has them: the cache, another asker's run, or a new search."""
    partition = partition_of(question, deps)
    if partition is None:
        return _unshared(question, deps)
    key = CacheKey(partition, question.text)
    lookup = await deps.cache.find(key)
    if lookup.entry is not None and lookup.entry.fresh:
        return _iterate(replay(lookup.entry))
    tenant, revision = question.principal.tenant, lookup.revision
    if revision is None:
        revision = await deps.registry.revision(tenant)
    # Askers share a run only if they saw the same revision: after a change, none may get an answer begun before it.
    run = f"{tenant}/{key.answer_id}@{revision}"
    query = CacheQuery(question, key, lookup, revision)
    return deps.single_flight.subscribe(run, lambda: answer_or_reuse(query, deps), relayed=lookup.revision is not None)


async def _unshared(question: Question, deps: AnswerDependencies) -> AsyncGenerator[AnswerEvent, None]:
    """An answer that is made for this asker alone, and not kept."""
    yield StatusEvent(Stage.SEARCHING, cache=CacheVerdict.BYPASS)
    retrieval = await search(question, deps)
    async with aclosing(answer_from(question, retrieval.passages, deps.answerer)) as events:
        async for event in events:
            yield event


async def _iterate(events: Iterable[AnswerEvent]) -> AsyncGenerator[AnswerEvent, None]:
    for event in events:
        yield event


class _Conversation:
    """A conversation that is remembered here: it collects the answer's text, and appends both turns at its end."""

    def __init__(self, conversations: Conversations, question: Question, history: Sequence[Message]) -> None:
        self.history = history
        self._conversations = conversations
        self._question = question
        self._id = question.conversation_id or uuid.uuid4().hex
        self._text: list[str] = []

    async def observe(self, event: AnswerEvent) -> AnswerEvent:
        """Take note of an event; the last one is given back with the conversation's id."""
        if isinstance(event, TokenEvent):
            self._text.append(event.text)
        elif isinstance(event, StatusEvent) and event.stage is Stage.RESTARTED:
            self._text.clear()
        elif isinstance(event, DoneEvent):
            turns = [Message("user", self._question.text), Message("assistant", "".join(self._text))]
            await self._conversations.append(self._question.principal, self._id, turns)
            return msgspec.structs.replace(event, conversation_id=self._id)
        return event


async def _open_conversation(question: Question, conversations: Conversations) -> _Conversation | None:
    """The question's conversation with its turns so far; None when the caller keeps it himself."""
    if question.history is not None:
        return None
    history: Sequence[Message] = ()
    if question.conversation_id:
        history = await conversations.history(question.principal, question.conversation_id)
    return _Conversation(conversations, question, history)
