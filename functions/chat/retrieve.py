"""Retrieval: question to passages, of current versions only, and only when they speak of the question."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.protocols import DocumentRegistry, Embedder, VectorStore
from headrace.sentences import content_stems
from headrace.types import Message, Passage, Scope, SearchRequest

# While a document is replaced the store holds two generations of it: look for more than is wanted.
OVERFETCH = 2
REMEMBERED_QUESTIONS = 512
# Without a language model to judge, the best passage must be this much above the floor, or share these words.
SURE_MARGIN = 0.2
SHARED_WORDS = 0.5


@dataclass(frozen=True, slots=True)
class RetrievalLimits:
    """How many passages an answer may use, and the similarity below which none is worth reading."""

    limit: int
    min_score: float


class Retriever:
    """Finds passages; remembers the vectors of the last questions."""

    def __init__(
        self, *, embedder: Embedder, store: VectorStore, registry: DocumentRegistry, limits: RetrievalLimits
    ) -> None:
        self._embedder = embedder
        self._store = store
        self._registry = registry
        self._limits = limits
        self._vectors: OrderedDict[str, Sequence[float]] = OrderedDict()

    @property
    def fingerprint(self) -> str:
        """Names everything here that shapes which passages are found."""
        return f"{self._embedder.model}/{self._limits.limit}/{self._limits.min_score}"

    async def retrieve(
        self, question: str, *, scope: Scope, history: Sequence[Message], filter_: Mapping[str, Any], strict: bool
    ) -> tuple[Passage, ...]:
        """The passages that may answer, best first; none when nothing fits.

        `strict` is for answerers that can't judge for themselves whether a passage answers.
        """
        vectors = await self._embed(_queries(question, history))
        request = SearchRequest(scope, vectors, self._limits.limit * OVERFETCH, filter_)
        found = await self._store.search(request)
        current = await self._current(found, scope)
        relevant = [passage for passage in current if passage.score >= self._limits.min_score]
        fresh = _without_repeats(relevant)[: self._limits.limit]
        if strict and not _answerable(question, fresh, self._limits.min_score + SURE_MARGIN):
            return ()
        return tuple(fresh)

    async def _embed(self, queries: Sequence[str]) -> list[Sequence[float]]:
        found = {query: self._vectors[query] for query in queries if query in self._vectors}
        missing = [query for query in queries if query not in found]
        if missing:
            # Meanwhile another question may push out what was found: it is kept here.
            found.update(zip(missing, await self._embedder.embed(missing), strict=True))
        for query in queries:
            self._vectors[query] = found[query]
            self._vectors.move_to_end(query)
        while len(self._vectors) > REMEMBERED_QUESTIONS:
            self._vectors.popitem(last=False)
        return [found[query] for query in queries]

    async def _current(self, found: Sequence[Passage], scope: Scope) -> list[Passage]:
        """Drop what a newer version replaced, and, whatever the store thinks, what another tenant owns."""
        keys = {passage.chunk.document_key for passage in found}
        generations = await self._registry.generations(scope.tenant, keys)
        return [
            passage
            for passage in found
            if passage.chunk.tenant == scope.tenant
            and generations.get(passage.chunk.document_key) == passage.chunk.generation
        ]


def _queries(question: str, history: Sequence[Message]) -> list[str]:
    """The question; in a conversation, also the question behind the last one, for "and what about …?"."""
    before = [turn.content for turn in history if turn.role == "user"]
    return [question, f"{before[-1]}\n{question}"] if before else [question]


def _without_repeats(passages: Sequence[Passage]) -> list[Passage]:
    seen: set[str] = set()
    kept = []
    for passage in passages:
        text = " ".join(passage.chunk.text.casefold().split())
        if text not in seen:
            seen.add(text)
            kept.append(passage)
    return kept


def _answerable(question: str, passages: Sequence[Passage], sure_score: float) -> bool:
    if not passages:
        return False
    if passages[0].score >= sure_score:
        return True
    wanted = content_stems(question)
    return any(len(wanted & content_stems(p.chunk.text_to_embed)) >= SHARED_WORDS * len(wanted) for p in passages[:3])
