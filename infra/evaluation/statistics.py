"""Means of scores with their 95 % intervals, and whether one run fell behind another beyond chance.

By the bootstrap: the questions are drawn anew, with replacement, two thousand times.
Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993; Koehn, Statistical Significance Tests for Machine Translation Evaluation, 2004.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infra.evaluation.scoring import SCORES

DRAWS = 2_000
SEED = 7
SHARE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over `count` questions, between `low` and `high` with 95 % confidence."""

    mean: float
    low: float
    high: float
    count: int


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of values, with its interval."""
    generator = random.Random(SEED)  # noqa: S311 - chance, not secrecy
    means = sorted(sum(generator.choices(values, k=len(values))) / len(values) for _ in range(DRAWS))
    margin = int((1 - SHARE) / 2 * DRAWS)
    return Estimate(sum(values) / len(values), means[margin], means[-1 - margin], len(values))


def estimates(runs: Sequence[Mapping[str, float]]) -> dict[str, Estimate]:
    """Each score's mean over the questions that have it."""
    by_name = {name: [scores[name] for scores in runs if name in scores] for name in SCORES}
    return {name: estimate(values) for name, values in by_name.items() if values}


def differences(
    before: Mapping[str, Mapping[str, float]], now: Mapping[str, Mapping[str, float]]
) -> dict[str, Estimate]:
    """By how much each score changed, over the questions that both runs asked: scores by question."""
    found = {}
    for name in SCORES:
        pairs = [now[q][name] - before[q][name] for q in now if q in before and name in now[q] and name in before[q]]
        if pairs:
            found[name] = estimate(pairs)
    return found


def falls(changed: Mapping[str, Estimate]) -> list[str]:
    """The scores that fell, with all of their interval below zero."""
    return [name for name, change in changed.items() if change.high < 0]


def median(values: Sequence[float]) -> float:
    """The value in the middle, the higher one of two."""
    return sorted(values)[len(values) // 2]
