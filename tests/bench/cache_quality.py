"""How often the answer cache is right, on questions that nothing was tuned to: beside a threshold, and GPTCache's default.

The set is made by infra/calibration: its held-out families, near-duplicates and near misses that differ in a number, a
name, a negation, a unit or a date. GPTCache's default is its distance evaluation at a similarity threshold of .8: unit
vectors at a squared distance d, a similarity of 1 - d/4, so that it takes every cosine from .6 on.
"""

from __future__ import annotations

from headrace.answering.recall import CALIBRATED
from headrace.embedders.minilm import open_minilm_embedder
from infra.calibration.families import HELD_OUT
from infra.calibration.measure import by_rules, by_threshold, groups_of, make_set, measure, total

MODEL = "all-MiniLM-L6-v2"
SEEDS = range(8)
GPTCACHE_COSINE = 0.6


async def run() -> None:
    """Print a table."""
    async with open_minilm_embedder(MODEL) as embedder:
        sets = [await make_set(groups_of(HELD_OUT), embedder, seed=seed) for seed in SEEDS]
    known = CALIBRATED[MODEL]
    asked, paraphrases = sum(len(s.coming) for s in sets), sum(s.paraphrases() for s in sets)
    print(f"\n{asked} held-out questions, {paraphrases} of them paraphrases of what the cache knows; {MODEL}")
    print(f"{'':36}{'precision':>10}{'hit rate':>10}{'right':>8}{'wrong':>8}")
    ways = (
        ("Headrace", by_rules(known), known.near),
        ("a threshold of .8", by_threshold, 0.8),
        ("a threshold of .95", by_threshold, 0.95),
        ("GPTCache's default (cosine .6)", by_threshold, GPTCACHE_COSINE),
    )
    for name, choose, near in ways:
        score = total(measure(labelled, choose, near=near) for labelled in sets)
        print(f"{name:36}{score.precision:10.1%}{score.hit_rate:10.1%}{score.right:8}{score.wrong:8}")
