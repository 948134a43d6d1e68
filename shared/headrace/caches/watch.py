"""Tells, before a document's new version becomes current, which cached answers it would have been retrieved for.

A passage's score depends on question and chunk alone, so that this is arithmetic: each cached question's bar against
the scores of the new chunks that its partition may see. What int8 loses is added to the score: errors retire.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from headrace.cache_layout import partition_key, registry_key
from headrace.caches.indexes import MirrorIndex
from headrace.caches.mirror import Mirror
from headrace.filters import fields_of, matches, parse_filter
from headrace.lexical import chunk_weights, question_weights
from headrace.types import Clearance, EmbeddedChunk, Scope
from headrace.vectors import Quantised, dots, quantise

# More comparisons than this take seconds, and more doomed answers than this a flip: then each is looked at when asked for.
MOST_PAIRS = 20_000_000
MOST_DOOMED = 1000
MOST_PARTITIONS = 200
TABLE = 512

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WatchedChunk:
    """A chunk as the watch compares it: who sees it, its words, its vector in int8, and how far off that is."""

    chunk: EmbeddedChunk
    words: Mapping[int, float]
    vector: Quantised
    error: float


class RedisWatch:
    """An AnswerWatch on the partitions of a Redis cache, mirrored here."""

    def __init__(self, client: Redis, index: MirrorIndex) -> None:
        self._client = cast("Any", client)
        self._index = index
        self._busy = asyncio.Lock()

    async def clearance(self, tenant: str, chunks: Sequence[EmbeddedChunk], embedding_model: str) -> Clearance | None:
        try:
            async with self._busy:
                return await self._clearance(tenant, chunks, embedding_model)
        except (RedisError, OSError, TimeoutError, ValueError, KeyError) as error:
            logger.warning("Cached answers could not be looked through (%s): each will be looked at.", error)
            return None

    async def _clearance(self, tenant: str, chunks: Sequence[EmbeddedChunk], embedding_model: str) -> Clearance | None:
        # The number first: what comes in after it is not covered.
        answers, listed = await self._client.hmget(registry_key(tenant), ["answers", "partitions"])
        doomed: list[tuple[str, str]] = []
        watched: list[WatchedChunk] = []
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
            mirror = await self._index.sync(key)
            if len(mirror) * len(chunks) > MOST_PAIRS:
                return None
            if len(mirror) and not watched:
                watched = await asyncio.to_thread(watch_chunks, chunks)
            scope = Scope(tenant, frozenset(about["groups"]))
            seen = visible(watched, scope, about["filter"])
            found = await asyncio.to_thread(doomed_by, seen, mirror, about["dense_weight"])
            doomed += [(name, entry) for entry in found]
            if len(doomed) > MOST_DOOMED:
                return None
        return Clearance(int(answers or 0), tuple(doomed))


def watch_chunks(chunks: Sequence[EmbeddedChunk]) -> list[WatchedChunk]:
    """The chunks, made ready to be compared with many questions."""
    found = []
    for embedded in chunks:
        vector = quantise(embedded.vector)
        words = chunk_weights(embedded.chunk.text_to_embed)
        found.append(WatchedChunk(embedded, words, vector, vector.error(embedded.vector)))
    return found


def visible(chunks: Sequence[WatchedChunk], scope: Scope, filter_: Mapping[str, Any]) -> list[WatchedChunk]:
    """Those that a retrieval within the scope, under the filter, may find."""
    wanted = parse_filter(filter_)
    seen = (each for each in chunks if scope.may_see(each.chunk.chunk.groups))
    return [each for each in seen if matches(wanted, fields_of(each.chunk.chunk))]


def doomed_by(chunks: Sequence[WatchedChunk], mirror: Mirror, dense_weight: float) -> list[str]:
    """The ids of the questions for which one of these chunks reaches the bar."""
    rows = mirror.rows
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
    doomed = []
    for start in range(0, len(rows), TABLE):
        end = min(start + TABLE, len(rows))
        products = dots(bytes(rows.vectors[start * width : end * width]), table, width)
        for place in range(start, end):
            row = products[(place - start) * len(chunks) : (place - start + 1) * len(chunks)]
            scale, bar = rows.scales[place], rows.bars[place]
            asked = question_weights(rows.questions[place]) if dense_weight < 1 else {}
            best = max(row) * scale * most_scale + most_error
            if dense_weight * best + (1 - dense_weight) * _overlap(asked, heaviest) < bar:
                continue
            for product, each in zip(row, chunks, strict=True):
                similarity = product * scale * each.vector.scale + each.error
                if dense_weight * similarity + (1 - dense_weight) * _overlap(asked, each.words) >= bar:
                    doomed.append(rows.ids[place])
                    break
    return doomed


def _overlap(question: Mapping[int, float], words: Mapping[int, float]) -> float:
    return sum(share * words.get(word, 0.0) for word, share in question.items())
