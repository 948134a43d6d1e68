"""The pipeline: cache → retrieve → generate → stream → remember. It knows protocols and types only."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from headrace.answering.citations import CitationFilter
from headrace.answering.prompt import PROMPT_VERSION, REFUSAL, build_messages
from headrace.protocols import AnswerCache, ChatModel, Conversations, DocumentRegistry
from headrace.retrieval.retriever import Retriever
from headrace.types import (
    AnswerEvent,
    AnswerMode,
    CachedAnswer,
    CacheKey,
    ChatRequest,
    DoneEvent,
    Message,
    PassagesEvent,
    Principal,
    StatusEvent,
    TokenEvent,
    Usage,
    UsageEvent,
)

EXTRACTIVE_NOTICE = "No language model is configured: these are quotes from your documents."


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, by whom.

    `conversation_id` continues a remembered conversation, None begins one; a
    caller that keeps the conversation itself sends it along as `history`.
    """

    text: str
    principal: Principal
    conversation_id: str | None = None
    history: Sequence[Message] | None = None
    filter: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AnswerParts:
    """What the pipeline works with."""

    retriever: Retriever
    registry: DocumentRegistry
    cache: AnswerCache
    conversations: Conversations
    model: ChatModel
    max_tokens: int


async def answer(question: Question, parts: AnswerParts) -> AsyncGenerator[AnswerEvent, None]:
    """Yield the answer as it comes to be, ending with a DoneEvent. Raises HeadraceError, at any point."""
    if question.history is not None:
        events = _from_cache_or_new(question, question.history, parts)
    else:
        events = _remembered(question, parts)
    async with aclosing(events):
        async for event in events:
            yield event


async def _remembered(question: Question, parts: AnswerParts) -> AsyncGenerator[AnswerEvent, None]:
    """An answer within a conversation that is kept here."""
    tenant = question.principal.tenant
    history: Sequence[Message] = ()
    if question.conversation_id:
        history = await parts.conversations.history(tenant, question.conversation_id)
    conversation_id = question.conversation_id or uuid.uuid4().hex
    text: list[str] = []
    async with aclosing(_from_cache_or_new(question, history, parts)) as events:
        async for event in events:
            if isinstance(event, TokenEvent):
                text.append(event.text)
            if isinstance(event, DoneEvent):
                turns = [Message("user", question.text), Message("assistant", "".join(text))]
                await parts.conversations.append(tenant, conversation_id, turns)
                yield replace(event, conversation_id=conversation_id)
            else:
                yield event


async def _from_cache_or_new(
    question: Question, history: Sequence[Message], parts: AnswerParts
) -> AsyncGenerator[AnswerEvent, None]:
    if parts.model.is_extractive:
        # It can't tell a follow-up from a new question, and must not answer this one with what fitted the last.
        history = ()
    key = CacheKey(question.principal.scope, _fingerprint(question, parts), question.text)
    cached = None if history else await parts.cache.find(key)
    if cached is not None:
        for event in _replay(cached):
            yield event
        return
    # The revision is read before anything is retrieved: a document that changes meanwhile makes the entry stale.
    revision = await parts.registry.revision(question.principal.tenant)
    made: list[AnswerEvent] = []
    async with aclosing(_new_answer(question, history, parts)) as events:
        async for event in events:
            made.append(event)
            whole = isinstance(event, DoneEvent) and event.finish_reason in {"stop", "refused"}
            if whole and not history:
                await parts.cache.remember(key, CachedAnswer(revision, time.time(), tuple(made)))
            yield event


def _replay(cached: CachedAnswer) -> list[AnswerEvent]:
    """The remembered events, token for token, marked as cached."""
    age_seconds = max(0.0, time.time() - cached.created_at)
    answering = [event for event in cached.events if isinstance(event, StatusEvent)][-1]
    events: list[AnswerEvent] = [StatusEvent("cached", answering.mode, answering.note, age_seconds)]
    for event in cached.events:
        if isinstance(event, DoneEvent):
            events.append(replace(event, cached=True))
        elif not isinstance(event, StatusEvent):
            events.append(event)
    return events


async def _new_answer(
    question: Question, history: Sequence[Message], parts: AnswerParts
) -> AsyncGenerator[AnswerEvent, None]:
    yield StatusEvent("searching")
    passages = await parts.retriever.retrieve(
        question.text,
        scope=question.principal.scope,
        history=history,
        filter_=question.filter,
        strict=parts.model.is_extractive,
    )
    if not passages:
        for event in _refusal():
            yield event
        return
    messages = build_messages(question.text, passages, history)
    request = ChatRequest(question.text, passages, messages, parts.max_tokens)
    async with aclosing(_generate(request, parts.model)) as events:
        async for generated in events:
            yield generated


async def _generate(request: ChatRequest, model: ChatModel) -> AsyncGenerator[AnswerEvent, None]:
    mode = AnswerMode.EXTRACTIVE if model.is_extractive else AnswerMode.GENERATED
    yield StatusEvent("answering", mode, EXTRACTIVE_NOTICE if model.is_extractive else "")
    # The text around a passage is the model's to read, not the reader's to be shown, or the cache's to keep.
    yield PassagesEvent(tuple(replace(passage, found_by="", context="") for passage in request.passages))
    citations = CitationFilter(request.passages)
    usage = Usage()
    finish_reason = "stop"
    said = ""
    async with aclosing(model.stream(request)) as chunks:
        async for chunk in chunks:
            usage = chunk.usage or usage
            finish_reason = chunk.finish_reason or finish_reason
            said += chunk.text
            for event in citations.feed(chunk.text):
                yield event
    for event in citations.close():
        yield event
    yield UsageEvent(usage)
    refused = not citations.cited and REFUSAL.rstrip(".") in said
    yield DoneEvent(AnswerMode.REFUSED if refused else mode, "refused" if refused else finish_reason)


def _refusal() -> list[AnswerEvent]:
    return [
        StatusEvent("answering", AnswerMode.REFUSED),
        PassagesEvent(()),
        TokenEvent(REFUSAL),
        UsageEvent(Usage()),
        DoneEvent(AnswerMode.REFUSED, "refused"),
    ]


def _fingerprint(question: Question, parts: AnswerParts) -> str:
    shape = (
        parts.model.name,
        PROMPT_VERSION,
        parts.retriever.fingerprint,
        str(parts.max_tokens),
        json.dumps(question.filter, sort_keys=True),
    )
    return hashlib.sha256("\x1f".join(shape).encode()).hexdigest()[:24]
