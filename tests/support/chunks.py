"""Chunks and vectors for tests of stores and retrieval."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from headrace.types import Chunk, EmbeddedChunk, Query, Scope, SearchRequest

DIMENSIONS = 16


def vector(seed: object) -> Sequence[float]:
    """A direction of its own for every seed."""
    generator = random.Random(str(seed))
    return unit([generator.gauss(0, 1) for _ in range(DIMENSIONS)])


def unit(values: Sequence[float]) -> list[float]:
    length = math.sqrt(sum(x * x for x in values))
    return [x / length for x in values]


def cosine(some: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(some, other, strict=True))


def embedded(chunk: Chunk) -> EmbeddedChunk:
    """The chunk with the vector of its text."""
    return EmbeddedChunk(chunk, vector(chunk.text))


def chunks(
    tenant: str, name: str = "a.txt", *, generation: int = 1, count: int = 3, groups: tuple[str, ...] = ()
) -> list[EmbeddedChunk]:
    """A document's generation: chunk i speaks of `text i of <name> <generation>` on page i + 1."""
    key = f"documents/{tenant}/{name}"
    return [
        embedded(
            Chunk(
                key, generation, i, f"text {i} of {name} {generation}",
                page=i + 1, section=("Top", f"Part {i}"), groups=groups, total=count, etag=f"etag-{generation}",
            )
        )
        for i in range(count)
    ]  # fmt: skip


def ask(tenant: str, near: str, *, limit: int = 5, groups: Sequence[str] = (), **more: Any) -> SearchRequest:
    """A search for what is near a text, by the vector alone unless `dense_weight` says otherwise."""
    return SearchRequest(Scope(tenant, frozenset(groups)), [Query(near, vector(near))], limit, **more)
