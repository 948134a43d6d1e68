"""From what a store measured to passages in order: the same arithmetic for every store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from headrace.text.lexical import blend, overlap, question_weights
from headrace.types import Chunk, ChunkId, Passage, Query, SearchRequest

# Stores compute in single precision: a difference behind this place is none.
SCORE_PLACES = 6
RAREST = 3


def words_of(request: SearchRequest, query: Query) -> Mapping[int, float]:
    """The words that have a say in this search, as a sparse vector: none when similarity alone ranks."""
    return question_weights(query.text) if request.dense_weight < 1 else {}


def rarest_words(request: SearchRequest, query: Query) -> list[int]:
    """The question's rarest words: a chunk that carries one is looked at, however far its embedding is."""
    words = words_of(request, query)
    return sorted(words, key=lambda term: (-words[term], term))[:RAREST]


def by_score(request: SearchRequest, query: Query, chunk: Chunk, score: float) -> Passage:
    """A passage from a store that blends similarity and words itself, where there are words."""
    if words_of(request, query):
        return Passage(chunk, score, found_by=query.text)
    return by_similarity(request, query, chunk, score)


def by_similarity(request: SearchRequest, query: Query, chunk: Chunk, similarity: float) -> Passage:
    """A passage from a store that measures the similarity alone."""
    shared = overlap(query.text, chunk.text_to_embed) if request.dense_weight < 1 else 0.0
    return Passage(chunk, blend(similarity, shared, request.dense_weight), similarity, query.text)


def with_similarity(passage: Passage, dense_weight: float) -> Passage:
    """The passage with its similarity: what of its score the words do not explain."""
    if passage.similarity is not None:
        return passage
    shared = overlap(passage.found_by, passage.chunk.text_to_embed)
    return replace(passage, similarity=(passage.score - (1 - dense_weight) * shared) / dense_weight)


def best_of(found: Iterable[Passage], limit: int) -> tuple[Passage, ...]:
    """Each passage once, with its best score; the best first, ties by document and index."""
    best: dict[ChunkId, Passage] = {}
    for passage in found:
        known = best.get(passage.chunk.identity)
        if known is None or known.score < passage.score:
            best[passage.chunk.identity] = passage
    return tuple(sorted(best.values(), key=_rank)[:limit])


def _rank(passage: Passage) -> tuple[float, ChunkId]:
    return -round(passage.score, SCORE_PLACES), passage.chunk.identity
