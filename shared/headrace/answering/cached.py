"""An answer that askers share: found in the cache, judged to fit a near question, or made once and kept.

Within one flight the cache is asked once: for the question's own entry, which another may have left meanwhile, and
for the candidates among its neighbours. While a judge reads these, the search that a miss needs goes on beside it.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace

import msgspec

from headrace.answering.dependencies import AnswerDependencies, NearQuestions
from headrace.answering.judge import is_for_judging, verdict_in_time
from headrace.answering.respond import respond
from headrace.answering.search import search
from headrace.concurrency.tasks import running
from headrace.errors import HeadraceError
from headrace.text.codes import codes_of
from headrace.types import (
    AnswerEvent,
    CachedAnswer,
    CacheEntry,
    CacheKey,
    CacheVerdict,
    DoneEvent,
    InvalidationReason,
    Lookup,
    Partition,
    PassagesEvent,
    Provenance,
    Question,
    Retrieval,
    Stage,
    StatusEvent,
    Usage,
)

# A judge reads so many candidates in one call.
CANDIDATES = 3
# An answer whose documents changed while it was made is checked by so many more searches, each within its time.
CHECKS = 2
CHECK_SECONDS = 1.0
# An admission score is stored as text and comes back as it was; one computed anew may differ in single precision.
SCORE_TOLERANCE = 1e-3
# Below every score of a passage.
ANY_SCORE = -1e6


@dataclass(frozen=True, slots=True)
class CacheQuery:
    """A question whose answer may be shared, its key, and what the cache first said of it."""

    question: Question
    key: CacheKey
    lookup: Lookup
    # The tenant's, read before anything is retrieved: an answer made across a change must not count as one made after it.
    revision: int


def partition_of(question: Question, deps: AnswerDependencies) -> Partition | None:
    """What the question's answer may be shared within; None when something shapes it that other askers don't share."""
    shape = deps.answerer.sharing_key(question)
    if shape is None or question.is_fresh or not question.options.is_for_sharing:
        return None
    # A verdict holds for the judge that gave it, and for nobody when judging is turned off.
    judge = deps.near_questions.judge.name if deps.near_questions is not None else ""
    shape = f"{shape}\x1f{deps.retriever.fingerprint}\x1f{judge}"
    return Partition(
        scope=question.principal.scope,
        fingerprint=hashlib.sha256(shape.encode()).hexdigest()[:24],
        embedding_model=deps.retriever.embedding_model,
        dense_weight=deps.retriever.dense_weight,
        filter=question.filter,
        options=question.options.key,
    )


async def answer_or_reuse(query: CacheQuery, deps: AnswerDependencies) -> AsyncGenerator[AnswerEvent, None]:
    """Yield the cached answer that fits the question, or else a new one, which the cache keeps."""
    question = query.question
    verdict = CacheVerdict.UNAVAILABLE if query.lookup.revision is None else CacheVerdict.MISS
    if deps.near_questions is not None:
        # Search and candidates both need the embedding, which is then made once.
        await deps.retriever.embed(question.text)
    async with running(search(question, deps)) as searching:
        # The search is on its way before candidates are looked for, which takes this process a moment.
        await asyncio.sleep(0)
        reuse = await _reusable(query, deps) if verdict is CacheVerdict.MISS else _Reuse()
        if reuse.entry is not None and not reuse.entry.fresh:
            reuse = replace(reuse, entry=await _revalidated(query, reuse.entry, await searching, deps))
        if reuse.entry is not None:
            for event in replay(reuse.entry, judge_tokens=reuse.usage.total_tokens):
                yield event
            return
        yield StatusEvent(Stage.SEARCHING, cache=verdict, judge_tokens=reuse.usage.total_tokens)
        retrieval = await searching
    made: list[AnswerEvent] = []
    async with aclosing(respond(question, retrieval, deps)) as events:
        async for event in events:
            if (
                isinstance(event, DoneEvent)
                and event.finish_reason.is_whole
                and not (event.fallback or event.unread or event.provisional)
            ):
                event = msgspec.structs.replace(event, answer_id=query.key.answer_id)  # noqa: PLW2901 - the same event
                made.append(event)
                provenance = provenance_of(made, retrieval, is_searched_further=deps.answerer.searches)
                await _keep(query, CachedAnswer(query.revision, time.time(), tuple(made), provenance), deps)
            else:
                made.append(event)
            yield event


@dataclass(frozen=True, slots=True)
class _Reuse:
    """A cached answer that fits, if there is one, and what the judge's verdict cost."""

    entry: CacheEntry | None = None
    usage: Usage = field(default_factory=Usage)


async def _reusable(query: CacheQuery, deps: AnswerDependencies) -> _Reuse:
    """The question's own entry, fresh or not, or the near one that the judge accepts."""
    near = deps.near_questions
    if near is None:
        return _Reuse((await deps.cache.find(query.key, counted=False)).entry)
    text, codes = query.question.text, codes_of(query.question.text)
    lookup = await deps.cache.candidates(
        query.key,
        await deps.retriever.embed(text),
        at_least=near.at_least,
        limit=CANDIDATES,
        plausible=lambda other: codes_of(other) == codes,
    )
    if lookup.entry is not None or not lookup.candidates:
        return _Reuse(lookup.entry)
    return await _judged(query, lookup, near, deps)


async def _judged(query: CacheQuery, lookup: Lookup, near: NearQuestions, deps: AnswerDependencies) -> _Reuse:
    """The candidate that the judge accepts; none when it gives no answer in time."""
    question = query.question.text
    candidates = [entry for entry in lookup.candidates if is_for_judging(question, entry)]
    if not candidates:
        return _Reuse()
    verdict = await verdict_in_time(near.judge, question, candidates, timeout_seconds=near.timeout_seconds)
    if verdict is None:
        return _Reuse()
    if verdict.choice is None:
        await deps.cache.reject(query.key, candidates, verdict.usage)
        return _Reuse(usage=verdict.usage)
    accepted = candidates[verdict.choice]
    # Documents may have changed while the judge read: the cache says whether the entry still stands.
    is_still_valid = await deps.cache.accept(query.key, accepted, verdict.usage)
    return _Reuse(accepted if is_still_valid else None, verdict.usage)


async def _revalidated(
    query: CacheQuery, own: CacheEntry, now: Retrieval, deps: AnswerDependencies
) -> CacheEntry | None:
    """The question's own entry, if a search today finds what it was made from; else it is invalidated."""
    if own.question != query.key.question:
        # The search was for this wording; the entry's provenance is that of its own.
        now = await search(replace(query.question, text=own.question), deps)
    if same_outcome(own.answer, now):
        return own if await deps.cache.revalidate(query.key, own, revision=query.revision) else None
    tenant, answer_id = query.question.principal.tenant, f"{query.key.partition.name}-{own.id}"
    await deps.cache.invalidate(tenant, [answer_id], InvalidationReason.SUPERSEDED)
    return None


async def _keep(query: CacheQuery, answer: CachedAnswer, deps: AnswerDependencies) -> None:
    """Keep the answer. If documents changed while it was made, only after a search that finds the same passages."""
    with suppress(HeadraceError, TimeoutError):
        for _ in range(CHECKS):
            if await deps.cache.remember(query.key, answer):
                return
            revision = await deps.registry.revision(query.question.principal.tenant)
            async with asyncio.timeout(CHECK_SECONDS):
                now = await search(query.question, deps)
            if not same_outcome(answer, now):
                return
            answer = replace(answer, revision=revision, provenance=now.provenance)


def provenance_of(made: Sequence[AnswerEvent], retrieval: Retrieval, *, is_searched_further: bool) -> Provenance:
    """What the answer depends on. Of searches that its answerer made by itself: on each new chunk, wherever it comes."""
    if not is_searched_further:
        return retrieval.provenance
    shown = next((event.passages for event in reversed(made) if isinstance(event, PassagesEvent)), ())
    documents = {each.chunk.document_key: (each.chunk.generation, each.chunk.groups) for each in shown}
    return replace(
        retrieval.provenance,
        documents={**documents, **retrieval.provenance.documents},
        admission_score=ANY_SCORE,
    )


def same_outcome(before: CachedAnswer, now: Retrieval) -> bool:
    """Whether a search today finds for the answer's own question what it was made from."""
    same = [passage.chunk.identity for passage in before.passages] == [p.chunk.identity for p in now.passages]
    difference = before.provenance.admission_score - now.provenance.admission_score
    return same and abs(difference) < SCORE_TOLERANCE


def replay(entry: CacheEntry, *, judge_tokens: int = 0) -> list[AnswerEvent]:
    """The remembered events, token for token, marked as cached."""
    age_seconds = max(0.0, time.time() - entry.answer.created_at)
    answering = [event for event in entry.answer.events if isinstance(event, StatusEvent)][-1]
    events: list[AnswerEvent] = [
        StatusEvent(
            Stage.CACHED,
            answering.mode,
            answering.note,
            age_seconds,
            CacheVerdict.HIT,
            entry.similarity,
            judge_tokens,
        )
    ]
    for event in entry.answer.events:
        if isinstance(event, DoneEvent):
            events.append(msgspec.structs.replace(event, cached=True))
        elif not isinstance(event, StatusEvent):
            events.append(event)
    return events
