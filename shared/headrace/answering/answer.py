"""The pipeline: cache → retrieve → generate → stream → remember. It knows protocols and types only."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from headrace.answering.citations import CitationFilter
from headrace.answering.flights import Flights
from headrace.answering.prompt import PROMPT_VERSION, REFUSAL, build_messages
from headrace.answering.recall import (
    UNCALIBRATED,
    Thresholds,
    has_same_context,
    recall,
    rests_on_the_same,
)
from headrace.answering.splice import RESTARTED
from headrace.errors import HeadraceError
from headrace.protocols import AnswerCache, ChatModel, Checkable, Conversations, DocumentRegistry
from headrace.questions.sharing import is_shareable
from headrace.retrieval.retriever import Retriever
from headrace.types import (
    AnswerEvent,
    AnswerMode,
    CachedAnswer,
    CacheKey,
    ChatRequest,
    DoneEvent,
    Found,
    Lookup,
    Message,
    Neighbour,
    Partition,
    PassagesEvent,
    Principal,
    Retired,
    Retrieval,
    StatusEvent,
    TokenEvent,
    Usage,
    UsageEvent,
)

# How often an answer is looked at again whose documents change while it is made.
LOOKS = 2
LOOK_SECONDS = 1.0
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
    """What the pipeline works with. `checks` names each part that can say whether it is ready."""

    retriever: Retriever
    registry: DocumentRegistry
    cache: AnswerCache
    flights: Flights
    conversations: Conversations
    model: ChatModel
    max_tokens: int
    thresholds: Thresholds = UNCALIBRATED
    checks: Mapping[str, Checkable] = field(default_factory=dict)


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
            elif isinstance(event, StatusEvent) and event.stage == RESTARTED:
                text.clear()
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
    if history or not is_shareable(question.text):
        async with aclosing(_new_answer(question, history, parts)) as events:
            async for event in events:
                yield event
        return
    key = CacheKey(partition_of(question, parts), question.text)
    lookup = await parts.cache.find(key)
    if lookup.found is not None and lookup.found.settled:
        for event in _replay(lookup.found):
            yield event
        return
    # Who asks after a document has changed must not hear an answer that began before.
    flight = f"{question.principal.tenant}/{key.answer_id}@{lookup.revision}"
    asked = _Asked(question, key, lookup)
    heard = parts.flights.join(flight, lambda: _shared_answer(asked, parts), relayed=lookup.revision is not None)
    async with aclosing(heard) as events:
        async for event in events:
            yield event


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question whose answer may be shared, and what the cache said of it at first."""

    question: Question
    key: CacheKey
    lookup: Lookup


async def _shared_answer(asked: _Asked, parts: AnswerParts) -> AsyncGenerator[AnswerEvent, None]:
    """The answer of a question near to this one, if the cache has one; else a new one, which the cache gets."""
    if asked.lookup.revision is not None:
        # Somebody else's flight may have ended, and its answer been kept, since the asker looked.
        asked = replace(asked, lookup=await parts.cache.find(asked.key, again=True))
    if asked.lookup.found is not None and asked.lookup.found.settled:
        for event in _replay(asked.lookup.found):
            yield event
        return
    # The revision is read before anything is retrieved: whatever changes meanwhile makes the answer another one's.
    revision = asked.lookup.revision
    verdict = "miss" if revision is not None else "unavailable"
    if revision is None:
        revision = await parts.registry.revision(asked.question.principal.tenant)
    same, near = await _neighbours(asked, parts)
    if same is not None:
        for event in _replay(same):
            yield event
        return
    in_doubt = bool(near) or asked.lookup.found is not None
    if not in_doubt:
        yield StatusEvent("searching", cache=verdict)
    retrieval = await _retrieve(asked.question, (), parts)
    if in_doubt:
        held = await _verified(asked, near, retrieval, revision, parts)
        if held is not None:
            for event in _replay(held):
                yield event
            return
        yield StatusEvent("searching", cache=verdict)
    made: list[AnswerEvent] = []
    async with aclosing(_answer_from(asked.question, (), retrieval, parts)) as events:
        async for event in events:
            whole = isinstance(event, DoneEvent) and event.finish_reason in {"stop", "refused"}
            named = replace(event, answer_id=asked.key.answer_id) if isinstance(event, DoneEvent) and whole else event
            made.append(named)
            if whole:
                await _remember(asked, CachedAnswer(revision, time.time(), tuple(made), retrieval.basis), parts)
            yield named


async def _neighbours(asked: _Asked, parts: AnswerParts) -> tuple[Found | None, list[Neighbour]]:
    """What the cache has of questions like this one."""
    if asked.lookup.found is not None or asked.lookup.revision is None:
        return None, []
    text = asked.question.text
    vector = await parts.retriever.embed(text)
    return await recall(parts.cache, asked.key.partition, text, vector, parts.thresholds)


async def _verified(
    asked: _Asked, near: Sequence[Neighbour], now: Retrieval, revision: int, parts: AnswerParts
) -> Found | None:
    """The answer that what is retrieved now shows to be right: the question's own, or that of one like it.

    The question's own is settled by that, or retired.
    """
    own = asked.lookup.found
    if own is not None:
        if rests_on_the_same(own.answer, now):
            return own if await parts.cache.confirm(asked.key, own, revision=revision) else None
        await parts.cache.retire(asked.question.principal.tenant, [asked.key.answer_id], Retired.SUPERSEDED)
        return None
    for neighbour in near:
        found = await parts.cache.read(asked.key.partition, neighbour, count=False)
        if found is None or not found.settled:
            continue
        is_right = has_same_context(asked.question.text, found, now.passages, parts.thresholds)
        if is_right and await parts.cache.confirm(asked.key, found, revision=found.answer.revision):
            return found
    return None


async def _remember(asked: _Asked, answer_made: CachedAnswer, parts: AnswerParts) -> None:
    """Keep the answer; if documents have changed meanwhile, only after a look at what they changed for it."""
    with suppress(HeadraceError, TimeoutError):
        for _ in range(LOOKS):
            if await parts.cache.remember(asked.key, answer_made):
                return
            revision = await parts.registry.revision(asked.question.principal.tenant)
            async with asyncio.timeout(LOOK_SECONDS):
                now = await _retrieve(asked.question, (), parts)
            if not rests_on_the_same(answer_made, now):
                return
            answer_made = replace(answer_made, revision=revision, basis=now.basis)


def _replay(found: Found) -> list[AnswerEvent]:
    """The remembered events, token for token, marked as cached."""
    age_seconds = max(0.0, time.time() - found.answer.created_at)
    answering = [event for event in found.answer.events if isinstance(event, StatusEvent)][-1]
    cached = StatusEvent("cached", answering.mode, answering.note, age_seconds, "hit", found.similarity)
    events: list[AnswerEvent] = [cached]
    for event in found.answer.events:
        if isinstance(event, DoneEvent):
            events.append(replace(event, cached=True))
        elif not isinstance(event, StatusEvent):
            events.append(event)
    return events


async def _new_answer(
    question: Question, history: Sequence[Message], parts: AnswerParts
) -> AsyncGenerator[AnswerEvent, None]:
    """An answer that is nobody else's."""
    yield StatusEvent("searching", cache="bypass")
    retrieval = await _retrieve(question, history, parts)
    async with aclosing(_answer_from(question, history, retrieval, parts)) as events:
        async for event in events:
            yield event


async def _retrieve(question: Question, history: Sequence[Message], parts: AnswerParts) -> Retrieval:
    return await parts.retriever.retrieve(
        question.text,
        scope=question.principal.scope,
        history=history,
        filter_=question.filter,
        strict=parts.model.is_extractive,
    )


async def _answer_from(
    question: Question, history: Sequence[Message], retrieval: Retrieval, parts: AnswerParts
) -> AsyncGenerator[AnswerEvent, None]:
    passages = retrieval.passages
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


def partition_of(question: Question, parts: AnswerParts) -> Partition:
    """What the question's answer may be shared within."""
    shape = (parts.model.name, PROMPT_VERSION, parts.retriever.fingerprint, str(parts.max_tokens))
    return Partition(
        scope=question.principal.scope,
        fingerprint=hashlib.sha256("\x1f".join(shape).encode()).hexdigest()[:24],
        embedding_model=parts.retriever.embedding_model,
        dense_weight=parts.retriever.dense_weight,
        filter=question.filter,
    )
