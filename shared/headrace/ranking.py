"""From what a store measured to passages in order: the same arithmetic for every store."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.lexical import blend, overlap, question_weights
from headrace.types import Chunk, ChunkId, Passage, Query, SearchRequest

# Stores compute in single precision: a difference behind this place is none.
SCORE_PLACES = 6


def by_score(request: SearchRequest, query: Query, chunk: Chunk, score: float) -> Passage:
    """A passage from a store that blends similarity and words itself."""
    shared = overlap(question_weights(query.text), chunk.text_to_embed) if request.dense_weight < 1 else 0.0
    similarity = (score - (1 - request.dense_weight) * shared) / request.dense_weight
    return Passage(chunk, score, similarity)


def by_similarity(request: SearchRequest, query: Query, chunk: Chunk, similarity: float) -> Passage:
    """A passage from a store that measures the similarity alone."""
    shared = overlap(question_weights(query.text), chunk.text_to_embed) if request.dense_weight < 1 else 0.0
    return Passage(chunk, blend(similarity, shared, request.dense_weight), similarity)


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
