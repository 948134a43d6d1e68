"""Measures how far the answer cache may be trusted with near questions: the configured judge, and thresholds beside it.

    python -m infra.calibration [--families FILE] [--precision 0.99]

For each family of facts that are easily taken for one another it prints how many hits are right (precision), and how
many questions in other words get the answer that is there (hit rate), with the tokens and the time of a verdict. The
settings are those of the chat function: EMBEDDING_MODEL, CHAT_MODEL, JUDGE_MODEL, CACHE_CANDIDATE_SIMILARITY,
CACHE_JUDGE_TIMEOUT_SECONDS, OPENAI_API_KEY. Without a language model only thresholds are measured. With --precision it
ends with status 1 if the judge stays below that. FILE has families of your own, in TOML:

    [[family]]
    name = "dose"
    source = "The maximum daily dose is 4 tablets for adults and 2 for children."
    facts = [
      { answer = "4 tablets", questions = ["What is the maximum dose for adults?", "How much may an adult take?"] },
      { answer = "2 tablets", questions = ["What is the maximum dose for children?", "How much may a child take?"] },
    ]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace import wiring
from headrace.answering.dependencies import NearQuestions
from headrace.errors import HeadraceError
from headrace.settings import Settings
from infra.calibration.families import SHIPPED, Family, read_families
from infra.calibration.measure import Score, Trial, by_judge, by_threshold, found_among_candidates, total, trials_of

THRESHOLDS = (0.75, 0.80, 0.85, 0.90, 0.95, 0.98)


def main() -> int:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--families", type=Path, default=SHIPPED, help="families of your own (default: the shipped ones)"
    )
    parser.add_argument("--precision", type=float, help="share of the judge's hits that must be right, from 0 to 1")
    given = parser.parse_args()
    try:
        settings = Settings.from_env(os.environ)
        score = asyncio.run(calibrate(settings, read_families(given.families)))
    except HeadraceError as error:
        print(f"calibration: {error}", file=sys.stderr)
        return 2
    if given.precision is None or score is None or score.precision is None:
        return 0
    return 0 if score.precision >= given.precision else 1


async def calibrate(settings: Settings, families: Sequence[Family]) -> Score | None:
    """Print what thresholds and the judge make of the families; the judge's score, if one is configured."""
    at_least = settings.cache_candidate_similarity
    print(f"Embedding model {settings.embedding_model}, {len(families)} families.", flush=True)
    async with wiring.open_embedder(settings) as embedder:
        trials = {family.name: await trials_of(family, embedder) for family in families}
    _print_thresholds([trial for each in trials.values() for trial in each], at_least)
    async with wiring.open_near_questions(settings) as near:
        if near is None:
            print(
                "\nNo judge: CHAT_MODEL is 'extractive', or CACHE_JUDGE is 'off'. The cache gives an answer to its own"
                "\nquestion alone, and never a wrong one. Set CHAT_MODEL (and JUDGE_MODEL) to measure a judge."
            )
            return None
        return await _print_judge(settings.judge_model or settings.chat_model, near, families, trials)


def _print_thresholds(trials: Sequence[Trial], at_least: float) -> None:
    print(f"\nA threshold by itself (what Headrace never does), {len(trials)} questions:")
    print(f"  {'cosine from':28}{'precision':>10}{'hit rate':>10}{'right':>7}{'wrong':>7}")
    for threshold in THRESHOLDS:
        _print_score(f"{threshold:.2f}", by_threshold(trials, threshold))
    best = found_among_candidates(trials, at_least)
    print(
        f"\nCACHE_CANDIDATE_SIMILARITY={at_least}: a judge that never errs would have a hit rate of {best.hit_rate:.1%}."
    )


async def _print_judge(
    model: str, near: NearQuestions, families: Sequence[Family], trials: Mapping[str, Sequence[Trial]]
) -> Score:
    print(f"\nThe judge {model}, at most {near.timeout_seconds} s a verdict:")
    head = f"{'precision':>10}{'hit rate':>10}{'right':>7}{'wrong':>7}{'verdicts':>10}{'missing':>9}"
    print(f"  {'family':28}{head}{'tokens each':>13}{'ms each':>9}")
    scores = []
    for family in families:
        score = await by_judge(
            trials[family.name], near.judge, at_least=near.at_least, timeout_seconds=near.timeout_seconds
        )
        scores.append(score)
        _print_score(f"{family.name} ({family.language}, {family.differ})", score, judged=True)
    _print_score("all", total(scores), judged=True)
    return total(scores)


def _print_score(name: str, score: Score, *, judged: bool = False) -> None:
    precision = "–" if score.precision is None else f"{score.precision:.1%}"
    line = f"  {name[:27]:28}{precision:>10}{score.hit_rate:>10.1%}{score.right:>7}{score.wrong:>7}"
    if judged:
        calls = max(score.verdicts, 1)
        line += (
            f"{score.verdicts:>10}{score.missing:>9}{score.tokens / calls:>13.0f}{1000 * score.seconds / calls:>9.0f}"
        )
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
