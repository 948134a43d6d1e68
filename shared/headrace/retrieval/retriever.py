"""The retriever: current passages only, for those who may see them, and only when they speak of the question.

The store says what it has, the registry what is current. The registry is asked after the store; what the store gave
of an older generation is left out of the next search, until a search and the registry agree. A new generation is
written before the registry flips to it and the old one deleted after, so a live document is found in exactly one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headrace.errors import IndexMismatchError, RegistryUnavailableError, StoreUnavailableError
from headrace.filters import fields_of, matches, parse_filter
from headrace.protocols import DocumentRegistry, Embedder, Reranker, VectorSearch
from headrace.ranking import with_similarity
from headrace.retrieval.question_vectors import QuestionVectors
from headrace.retrieval.selection import without_repeats
from headrace.retrieval.windows import ChunkMemory, Neighbours, with_context
from headrace.text.lexical import blend
from headrace.types import (
    Chunk,
    Message,
    Passage,
    Provenance,
    RegistrySnapshot,
    Retrieval,
    Scope,
    SearchRequest,
    SearchResult,
)

# Near-duplicates are dropped afterwards: look for more than is wanted.
OVERFETCH = 2
# How often documents may change under one retrieval, and how long a store may lag behind the registry.
ROUNDS = 10
FRESH_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 0.02
# Without a language model to judge, an answer needs a passage as good as one this much more similar than the floor.
SURE_MARGIN = 0.2
SCORE_MARGIN = 1e-4
NEAREST_DOCUMENTS = 3
MOST_PHRASING_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class RetrievalOptions:
    """How many passages an answer may use, how they are ranked, and how much text around them it may read.

    `min_similarity` is the cosine below which a passage is not used, unless its words make up for it. `dense_weight` is
    the similarity's share in a score, above 0 and at most 1. `context_tokens` caps the text of all passages with their
    surroundings; 0 leaves these out.
    """

    limit: int = 6
    min_similarity: float = 0.0
    dense_weight: float = 0.6
    context_tokens: int = 0

    def score_of(self, similarity: float) -> float:
        """The score of a passage of this similarity that shares no word with the question."""
        return blend(similarity, 0.0, self.dense_weight)


class Retriever:
    """Finds passages; remembers the vectors of the last questions, and the chunks around the last passages."""

    def __init__(
        self,
        *,
        embedder: Embedder,
        store: VectorSearch,
        registry: DocumentRegistry,
        options: RetrievalOptions,
        reranker: Reranker | None = None,
    ) -> None:
        self._embedder = embedder
        self._store = store
        self._registry = registry
        self._options = options
        self._reranker = reranker
        self._questions = QuestionVectors(embedder)
        self._chunks = ChunkMemory()

    def tuned(self, *, limit: int | None = None, dense_weight: float | None = None, rerank: bool = True) -> Retriever:
        """The same parts with other options: to be compared with. What is not given stays."""
        options = replace(
            self._options, limit=limit or self._options.limit, dense_weight=dense_weight or self._options.dense_weight
        )
        other = Retriever(
            embedder=self._embedder, store=self._store, registry=self._registry, options=options,
            reranker=self._reranker if rerank else None,
        )  # fmt: skip
        other._questions, other._chunks = self._questions, self._chunks
        return other

    @property
    def reranks(self) -> bool:
        """Whether a reranking model orders what is found."""
        return self._reranker is not None

    @property
    def embedder(self) -> Embedder:
        """What the documents are embedded with, and the questions."""
        return self._embedder

    @property
    def embedding_model(self) -> str:
        """The model that embeds the questions."""
        return self._embedder.model

    @property
    def dense_weight(self) -> float:
        """The similarity's share in a score."""
        return self._options.dense_weight

    @property
    def fingerprint(self) -> str:
        """Names everything here that shapes which passages are found."""
        reranked = self._reranker.model if self._reranker is not None else ""
        return f"{self._embedder.model}/{self._options}/{reranked}"

    async def embed(self, question: str) -> Sequence[float]:
        """The question's unit-length embedding. Raises EmbedderUnavailableError."""
        (query,) = await self._questions.of([question])
        return query.vector

    def begin_embedding(self, question: str) -> None:
        """Begin to embed the question, for whoever embeds or searches for it next."""
        self._questions.begin(question)

    def give_up_embedding(self, question: str) -> None:
        """End what was begun for the question, unless somebody waits for it."""
        self._questions.give_up(question)

    async def retrieve(
        self,
        question: str,
        *,
        scope: Scope,
        history: Sequence[Message] = (),
        filter_: Mapping[str, Any] | None = None,
        strict: bool = False,
    ) -> Retrieval:
        """The passages that may answer, best first, and what that rests on; no passages when nothing fits.

        `strict` is for answerers that can't judge for themselves whether a passage answers. Raises UnavailableError
        for a part that does not answer or a registry that is being rebuilt, and IndexMismatchError.
        """
        queries = await self._questions.of(_phrasings(question, history))
        limit = self._options.limit * OVERFETCH
        request = SearchRequest(scope, queries, limit, self._options.dense_weight, filter_ or {})
        async with Neighbours(self._store, scope.tenant, self._chunks) as neighbours:
            widen = neighbours if self._options.context_tokens and not strict else None
            return await self._retrieved(question, request, widen, strict=strict)

    async def _retrieved(
        self, question: str, request: SearchRequest, neighbours: Neighbours | None, *, strict: bool
    ) -> Retrieval:
        """What the search finds, chosen and with its `neighbours`, if these are wanted."""
        found, snapshot = await self._search(request, neighbours)
        floor = self._options.min_similarity
        relevant = [passage for passage in found if passage.score >= self._options.score_of(floor)]
        if self._reranker is not None and relevant:
            relevant = await _reranked(question, relevant, self._reranker)
        chosen = without_repeats(relevant, limit=self._options.limit)
        chosen = [with_similarity(passage, self._options.dense_weight) for passage in chosen]
        provenance = self._provenance(request, found, chosen, snapshot)
        is_sure = any(passage.score >= self._options.score_of(floor + SURE_MARGIN) for passage in chosen)
        nearest = tuple(dict.fromkeys(passage.chunk.name for passage in found))[:NEAREST_DOCUMENTS]
        if strict and not is_sure:
            return Retrieval((), provenance, is_sure, nearest)
        if neighbours is None:
            return Retrieval(tuple(chosen), provenance, is_sure, nearest)
        passages = await with_context(chosen, neighbours, max_tokens=self._options.context_tokens)
        return Retrieval(passages, provenance, is_sure, nearest)

    def _provenance(
        self, request: SearchRequest, found: Sequence[Passage], chosen: Sequence[Passage], snapshot: RegistrySnapshot
    ) -> Provenance:
        """A full result that is ranked by score depends on the chosen passages alone; any other on all that were found."""
        floor = self._options.score_of(self._options.min_similarity)
        rests_on, last = found, found[-1].score if len(found) >= request.limit else floor
        if len(chosen) == self._options.limit and self._reranker is None:
            rests_on, last = chosen, chosen[-1].score
        keys = {passage.chunk.document_key for passage in rests_on}
        documents = {key: snapshot.current[key] for key in sorted(keys)}
        # Scores are computed in single precision.
        return Provenance(request.queries[0].vector, max(last, floor) - SCORE_MARGIN, documents)

    async def _search(
        self, request: SearchRequest, neighbours: Neighbours | None
    ) -> tuple[list[Passage], RegistrySnapshot]:
        """What the store finds and the registry confirms, best first, and what the registry says of it."""
        left_out: dict[int, str] = {}
        pause_seconds = FIRST_PAUSE_SECONDS
        try:
            async with asyncio.timeout(FRESH_SECONDS):
                for _ in range(ROUNDS):
                    asked = replace(request, without=frozenset(left_out))
                    result, snapshot = await self._search_once(asked, left_out.values(), neighbours)
                    if result.watermark is not None and result.watermark < snapshot.watermark:
                        # Answered from before the last flip.
                        await asyncio.sleep(pause_seconds)
                        pause_seconds *= 2
                        continue
                    # What this scope may not see may well be left out, current or not.
                    visible = request.scope.may_see
                    current = {generation for generation, groups in snapshot.current.values() if visible(groups)}
                    if current.isdisjoint(left_out):
                        confirmed, again = _confirmed(request, result.passages, snapshot)
                        if not again:
                            return confirmed, snapshot
                        left_out |= again
                    # What was on its way when it was left out may have become current since.
                    left_out = {generation: key for generation, key in left_out.items() if generation not in current}
        except TimeoutError:
            pass
        raise StoreUnavailableError("The documents change faster than they can be searched. Try again in a moment.")

    async def _search_once(
        self, request: SearchRequest, left_out: Iterable[str], neighbours: Neighbours | None
    ) -> tuple[SearchResult, RegistrySnapshot]:
        tenant = request.scope.tenant
        result = await self._store.search(request)
        # Whatever the store thinks: another tenant's chunks are none of this one's business.
        own = tuple(passage for passage in result.passages if passage.chunk.tenant == tenant)
        result = replace(result, passages=own)
        if neighbours is not None:
            await neighbours.look_for(own[: self._options.limit])
        keys = {passage.chunk.document_key for passage in result.passages}.union(left_out)
        snapshot = await self._registry.snapshot(tenant, keys)
        configured = self._embedder.model
        if snapshot.embedding_model not in {"", configured}:
            raise IndexMismatchError(tenant, indexed=snapshot.embedding_model, configured=configured)
        newest = max((passage.chunk.generation for passage in result.passages), default=0)
        if snapshot.epoch and newest > snapshot.newest_attempt:
            # No attempt that the registry knows of wrote this: it fell back in time.
            await self._registry.distrust(tenant)
            snapshot = replace(snapshot, epoch="")
        if result.passages and not snapshot.epoch:
            raise RegistryUnavailableError(
                "The document registry was lost and is being rebuilt, so nobody knows which passages are current. "
                "Ask again in a few minutes; `make rebuild` does it now.",
                retry_after_seconds=60,
            )
        return result, snapshot


def _confirmed(
    request: SearchRequest, found: Sequence[Passage], snapshot: RegistrySnapshot
) -> tuple[list[Passage], dict[int, str]]:
    """The passages that may be shown, and the generations (with their documents) to search again without, if needed."""
    wanted = parse_filter(request.filter)
    shown = [passage for passage in found if _may_be_shown(passage.chunk, request.scope, snapshot)]
    confirmed = [passage for passage in shown if matches(wanted, fields_of(passage.chunk))]
    kept = {passage.chunk.identity for passage in shown}
    dropped = [passage.chunk for passage in found if passage.chunk.identity not in kept]
    replaced = any(
        chunk.document_key in snapshot.current and chunk.generation < snapshot.current[chunk.document_key][0]
        for chunk in dropped
    )
    # Of a replaced document the new generation must be looked for; anything else has merely taken others' places.
    if replaced or len(found) >= request.limit:
        return confirmed, {chunk.generation: chunk.document_key for chunk in dropped}
    return confirmed, {}


def _may_be_shown(chunk: Chunk, scope: Scope, snapshot: RegistrySnapshot) -> bool:
    """Whatever the store thinks: this generation is current, and this scope may see it."""
    generation, groups = snapshot.current.get(chunk.document_key, (None, ()))
    return chunk.generation == generation and scope.may_see(groups)


async def _reranked(question: str, passages: Sequence[Passage], reranker: Reranker) -> list[Passage]:
    scores = await reranker.rerank(question, passages)
    order = sorted(range(len(passages)), key=lambda place: (-scores[place], place))
    return [passages[place] for place in order]


def _phrasings(question: str, history: Sequence[Message]) -> list[str]:
    """The question; in a conversation, also the question behind the last one, for "and what about …?"."""
    before = [turn.content for turn in history if turn.role == "user"]
    # Of a long one the end is nearest to what is asked now; no embedding model reads all of it.
    return [question, f"{before[-1][-MOST_PHRASING_CHARACTERS:]}\n{question}"] if before else [question]
