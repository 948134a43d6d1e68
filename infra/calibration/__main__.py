"""Prints how precision and hit rate go with the answer cache's thresholds, for the embedding model that is configured.

    python -m infra.calibration [--precision 0.99] [--pairs FILE]

Asks the model for the embeddings of some hundred questions and passages. The precision is the share of hits that are
right, the hit rate the share of reworded questions that are answered from the cache. FILE has your own questions, a JSON
value a line: {"fact": "leave/annual", "question": "How long is annual leave?", "passage": "Employees get 30 days …"},
at least two lines a fact; facts that read alike but differ are what makes it worth it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections import defaultdict
from pathlib import Path

from headrace import wiring
from headrace.answering.recall import CALIBRATED, Thresholds
from headrace.errors import HeadraceError, InvalidInputError
from headrace.settings import Settings
from infra.calibration.families import CALIBRATION, Fact
from infra.calibration.measure import Group, Score, by_rules, by_threshold, groups_of, make_set, measure, total

STEPS = [number / 100 for number in range(60, 100, 5)]
SAME_STEPS = [number / 100 for number in range(75, 100, 5)]
SEEDS = range(3)


def main() -> int:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", type=float, default=0.99, help="share of hits that must be right (default 0.99)")
    parser.add_argument("--pairs", type=Path, help="your own questions, JSON lines")
    given = parser.parse_args()
    settings = Settings.from_env(os.environ)
    try:
        return asyncio.run(calibrate(settings, precision=given.precision, pairs=given.pairs))
    except (HeadraceError, OSError) as error:
        print(f"calibration: {error}", file=sys.stderr)
        return 2


async def calibrate(settings: Settings, *, precision: float, pairs: Path | None) -> int:
    """Print the curve and the thresholds with the most hits at that precision; 1 when there are none."""
    groups = read_groups(pairs) if pairs else groups_of(CALIBRATION)
    print(f"Embedding model {settings.embedding_model}: embedding questions and passages …", flush=True)
    async with wiring.open_embedder(settings) as embedder:
        sets = [await make_set(groups, embedder, seed=seed) for seed in SEEDS]
    asked = sum(len(labelled.coming) for labelled in sets)
    print(f"{asked} questions asked of caches that know two thirds of the facts, each in one wording.\n")
    print("similarity alone       precision   hit rate")
    for near in STEPS:
        _row(f"from {near:.2f}", total(measure(labelled, by_threshold, near=near) for labelled in sets))
    best: tuple[float, Thresholds] | None = None
    print("\nwith rules and context: same from, near from")
    for same in SAME_STEPS:
        for near in (step for step in STEPS if step <= same):
            thresholds = Thresholds(same, near)
            score = total(measure(labelled, by_rules(thresholds), near=near) for labelled in sets)
            _row(f"{same:.2f}, {near:.2f}", score)
            # Of equal hit rates, the more careful.
            if score.precision >= precision and (best is None or score.hit_rate >= best[0] + 0.005):
                best = (score.hit_rate, thresholds)
    if best is None:
        print(
            f"\nNothing reaches a precision of {precision:.0%}. Leave near questions alone: CACHE_NEAR_SIMILARITY=1.01"
        )
        return 1
    _, found = best
    print(f"\nMost hits at {precision:.0%}: CACHE_SAME_SIMILARITY={found.same} CACHE_NEAR_SIMILARITY={found.near}")
    if known := CALIBRATED.get(settings.embedding_model):
        print(f"In use unless you set these: {known.same} and {known.near}.")
    return 0


def read_groups(path: Path) -> list[Group]:
    """The facts of a file, in groups of one. Raises InvalidInputError for a line that can't be read."""
    questions: dict[str, list[str]] = defaultdict(list)
    passages: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            questions[row["fact"]].append(row["question"])
            passages[row["fact"]] = row["passage"]
        except (ValueError, KeyError, TypeError):
            raise InvalidInputError(f"{path}, line {number}: it must have `fact`, `question` and `passage`.") from None
    facts = [Fact(name, passages[name], tuple(asked)) for name, asked in questions.items()]
    if not any(len(fact.questions) > 1 for fact in facts):
        raise InvalidInputError(f"{path}: no fact has two questions, so that nothing can be measured.")
    return [Group("own", tuple(facts), 1)]


def _row(name: str, score: Score) -> None:
    print(f"  {name:20} {score.precision:9.1%} {score.hit_rate:10.1%}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
