"""Plans, before a document's new version becomes current, which cached answers it would have been retrieved for.

A passage's score depends on question and chunk alone, so this is arithmetic: each cached question's admission score
against the scores of the new chunks that its partition may see. What int8 loses is added to the score, so that errors
invalidate too much, never too little.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis

from headrace.clients.redis import REDIS_FAULTS
from headrace.filters import fields_of, matches, parse_filter
from headrace.redis_state.answer_cache.local_index import LocalIndex
from headrace.redis_state.answer_cache.question_index import LocalQuestionIndex
from headrace.redis_state.layout import partition_key, registry_key
from headrace.text.lexical import chunk_weights, question_weights
from headrace.types import CacheInvalidation, EmbeddedChunk, Scope
from headrace.vectors import Quantised, dots, quantise

# More comparisons than this take seconds, and deleting more answers than this holds up the flip: then there is no plan, and
# each entry is revalidated when it is asked for.
MOST_PAIRS = 20_000_000
MOST_INVALIDATED = 1000
MOST_PARTITIONS = 200
TABLE = 512

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NewChunk:
    """A chunk with what its scores are computed from: its words, its vector in int8, and how far off that is."""

    chunk: EmbeddedChunk
    words: Mapping[int, float]
    vector: Quantised
    error: float


class RedisInvalidationPlanner:
    """An InvalidationPlanner on the local indexes of a Redis cache's partitions."""

    def __init__(self, client: Redis, index: LocalQuestionIndex) -> None:
        self._client = cast("Any", client)
        self._index = index
        self._busy = asyncio.Lock()

    async def plan(
        self, tenant: str, chunks: Sequence[EmbeddedChunk], embedding_model: str
    ) -> CacheInvalidation | None:
        try:
            async with self._busy:
                return await self._plan(tenant, chunks, embedding_model)
        except (*REDIS_FAULTS, ValueError, KeyError) as error:
            logger.warning(
                "No invalidation could be planned (%s): each cached answer is revalidated when it is asked for.", error
            )
            return None

    async def _plan(
        self, tenant: str, chunks: Sequence[EmbeddedChunk], embedding_model: str
    ) -> CacheInvalidation | None:
        # The number first: what comes in after it is not covered.
        answers, listed = await self._client.hmget(registry_key(tenant), ["answers", "partitions"])
        entries: list[tuple[str, str]] = []
        new: list[NewChunk] = []
        partitions = (listed or b"").decode().split()
        if len(partitions) > MOST_PARTITIONS:
            return None
        for each in partitions:
            name, _, kind = each.partition("/")
            if kind != self._index.kind:
                return None
            key = partition_key(tenant, name)
            meta = await self._client.hget(key, "meta")
            if meta is None:
                continue
            about = json.loads(meta)
            if about["embedding_model"] != embedding_model:
                # Nobody can be answered with that any more: the tenant is indexed with another model.
                continue
            index = await self._index.sync(key)
            if len(index) * len(chunks) > MOST_PAIRS:
                return None
            if len(index) and not new:
                new = await asyncio.to_thread(prepare, chunks)
            scope = Scope(tenant, frozenset(about["groups"]))
            seen = visible(new, scope, about["filter"])
            found = await asyncio.to_thread(invalidated_by, seen, index, about["dense_weight"])
            entries += [(name, entry) for entry in found]
            if len(entries) > MOST_INVALIDATED:
                return None
        return CacheInvalidation(int(answers or 0), tuple(entries))


def prepare(chunks: Sequence[EmbeddedChunk]) -> list[NewChunk]:
    """The chunks, made ready to be compared with many questions."""
    found = []
    for embedded in chunks:
        vector = quantise(embedded.vector)
        words = chunk_weights(embedded.chunk.text_to_embed)
        found.append(NewChunk(embedded, words, vector, vector.error(embedded.vector)))
    return found


def visible(chunks: Sequence[NewChunk], scope: Scope, filter_: Mapping[str, Any]) -> list[NewChunk]:
    """Those that a retrieval within the scope, under the filter, may find."""
    wanted = parse_filter(filter_)
    seen = (each for each in chunks if scope.may_see(each.chunk.chunk.groups))
    return [each for each in seen if matches(wanted, fields_of(each.chunk.chunk))]


def invalidated_by(chunks: Sequence[NewChunk], index: LocalIndex, dense_weight: float) -> list[str]:
    """The ids of the questions for which one of these chunks reaches the admission score."""
    rows = index.rows
    if not chunks or not len(rows):
        return []
    width = rows.dimensions
    if any(len(each.vector.numbers) != width for each in chunks):
        raise ValueError("chunks and questions have vectors of different dimensions")
    heaviest: dict[int, float] = {}
    for each in chunks:
        for word, weight in each.words.items():
            heaviest[word] = max(weight, heaviest.get(word, 0.0))
    table = b"".join(each.vector.numbers for each in chunks)
    most_scale = max(each.vector.scale for each in chunks)
    most_error = max(each.error for each in chunks)
    found = []
    for start in range(0, len(rows), TABLE):
        end = min(start + TABLE, len(rows))
        products = dots(bytes(rows.vectors[start * width : end * width]), table, width)
        for position in range(start, end):
            row = products[(position - start) * len(chunks) : (position - start + 1) * len(chunks)]
            scale, admission_score = rows.scales[position], rows.admission_scores[position]
            asked = question_weights(rows.questions[position]) if dense_weight < 1 else {}
            best = max(row) * scale * most_scale + most_error
            if dense_weight * best + (1 - dense_weight) * _overlap(asked, heaviest) < admission_score:
                continue
            for product, each in zip(row, chunks, strict=True):
                similarity = product * scale * each.vector.scale + each.error
                if dense_weight * similarity + (1 - dense_weight) * _overlap(asked, each.words) >= admission_score:
                    found.append(rows.ids[position])
                    break
    return found


def _overlap(question: Mapping[int, float], words: Mapping[int, float]) -> float:
    return sum(share * words.get(word, 0.0) for word, share in question.items())
