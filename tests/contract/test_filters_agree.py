"""A filter means the same on every store: what an independent reading of the documentation says it means."""

from __future__ import annotations

import random

from headrace.filters import fields_of, matches, parse_filter
from headrace.protocols import VectorStore
from tests.support.chunks import DIMENSIONS, ask, embedded
from tests.support.filter_oracle import holds, random_chunks, random_filter
from tests.support.scale import tries

CASES = tries(2_000, 20_000)


async def test_every_store_reads_a_filter_as_documented(calm_store: VectorStore, tenant: str) -> None:
    generator = random.Random(11)
    chunks = random_chunks(generator, tenant, 60)
    await calm_store.ensure(DIMENSIONS)
    await calm_store.upsert([embedded(chunk) for chunk in chunks])
    hits = 0
    for _ in range(CASES):
        expression = random_filter(generator, tenant)
        found = await calm_store.search(ask(tenant, "x", limit=100, filter=expression))
        expected = {chunk.index for chunk in chunks if holds(expression, chunk)}
        assert {passage.chunk.index for passage in found.passages} == expected, expression
        hits += 0 < len(expected) < len(chunks)
    assert hits > CASES / 4, "most filters have to separate something"


def test_the_check_after_retrieval_reads_a_filter_as_documented() -> None:
    generator = random.Random(12)
    chunks = random_chunks(generator, "t", 60)
    for _ in range(CASES):
        expression = random_filter(generator, "t")
        wanted = parse_filter(expression)
        for chunk in chunks:
            assert matches(wanted, fields_of(chunk)) == holds(expression, chunk), (expression, chunk)
