"""What an evaluation says: a table, what is wrong, and the samples that Ragas and DeepEval read."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from infra.evaluation.cases import Case
from infra.evaluation.scoring import Outcome
from infra.evaluation.statistics import Estimate, differences, estimates, falls, median

Scores = Mapping[str, Mapping[str, float]]


def report(outcomes: Sequence[Outcome], before: Scores | None, bars: Mapping[str, float]) -> int:
    """Print the table and what is wrong; 1 when something is. `before` has the scores of an earlier run, by question."""
    found = estimates([outcome.scores for outcome in outcomes])
    changed = (
        differences(before, {outcome.question: outcome.scores for outcome in outcomes}) if before is not None else {}
    )
    print(f"  {'':16} {'questions':>9} {'mean':>6} {'95 %':>13} {'change' if changed else '':>8}")
    for name, now in found.items():
        print(f"  {name:16} {now.count:9} {now.mean:6.3f} {_interval(now):>13} {_change(changed.get(name))}")
    seconds = [outcome.seconds for outcome in outcomes]
    tokens = sum(outcome.tokens for outcome in outcomes)
    print(f"\n  {median(seconds):.2f} s in the middle, {max(seconds):.2f} s at most; {tokens:,} tokens.")
    for outcome in outcomes:
        if outcome.fault or min(outcome.scores.values()) < 1:
            _print_wrong(outcome)
    below = [
        f"{name} is {found[name].mean:.3f}, and should be {bar:g}"
        for name, bar in bars.items()
        if name in found and found[name].mean < bar
    ] + [f"{name} was not measured: no question of the set has it" for name in bars if name not in found]
    below += [f"{name} fell by {-changed[name].mean:.3f}, beyond chance" for name in falls(changed)]
    for fault in below:
        print(f"evaluation: {fault}.", file=sys.stderr)
    return 1 if below else 0


def exported(cases: Sequence[Case], outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Samples of Ragas (`SingleTurnSample`); DeepEval's names stand beside them."""
    rows = []
    for case, outcome in zip(cases, outcomes, strict=True):
        reference = "; ".join(ways[0] for ways in case.facts)
        shared = {
            "user_input": case.question,
            "response": outcome.answer,
            "retrieved_contexts": outcome.contexts,
            "reference": reference,
        }
        named = {
            "input": case.question,
            "actual_output": outcome.answer,
            "retrieval_context": outcome.contexts,
            "expected_output": reference,
        }
        rows.append({**shared, **named})
    return rows


def _print_wrong(outcome: Outcome) -> None:
    wrong = ", ".join(f"{name} {value:.2f}" for name, value in outcome.scores.items() if value < 1)
    print(f"  - {outcome.question} ({wrong}) {outcome.fault or outcome.answer[:120]!r}")
    for claim in outcome.doubted:
        print(f"      no passage bears out: {claim[:120]}")


def _interval(found: Estimate) -> str:
    return f"{found.low:.3f}–{found.high:.3f}"


def _change(change: Estimate | None) -> str:
    return "" if change is None else f"{change.mean:+8.3f} ({change.low:+.3f} to {change.high:+.3f})"
