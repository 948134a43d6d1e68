"""Asks a running Headrace a set of questions, and says how good its answers are.

    python -m infra.evaluation [--set FILE] [--url URL] [--save FILE] [--against FILE] [--bar facts=0.9] [--export FILE]

FILE of the set has a line of JSON a question: `{"question": …, "facts": ["26", ["three days", "3 days"]], "documents":
["handbook.docx"]}`, or `"refused": true` for what the documents do not have. Each score is printed with its 95 % interval:
hit and reciprocal_rank of the expected documents among the passages, facts in the answer, citations of expected documents,
refusal when it is due. `--against` compares with a run that `--save` kept, question by question; `--bar` names the least mean
of a score. It ends with status 1 when a score is below its bar, or fell beyond its interval; so it can stand before a deployment.
`--export` writes what Ragas and DeepEval read. HEADRACE_KEY is the key that it asks with; without one AWS credentials sign,
or on this machine nobody.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra.aws.smoke import Door, SmokeError
from infra.evaluation.cases import SHIPPED, Case, SetError, read_cases
from infra.evaluation.scoring import SCORES, Outcome, failed, score
from infra.evaluation.statistics import Estimate, differences, estimates, falls

AT_ONCE = 4
LOCAL = "http://127.0.0.1:8000"
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def main() -> int:
    """Read the command line, ask, print; 1 when it is not good enough, 2 when it could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", type=Path, default=SHIPPED, dest="cases", help="(default: questions on the samples)")
    parser.add_argument("--url", default=LOCAL, help=f"of the chat function (default {LOCAL})")
    parser.add_argument("--save", type=Path, help="keep the outcomes here")
    parser.add_argument("--against", type=Path, help="outcomes that were kept, to compare with")
    parser.add_argument("--bar", action="append", default=[], type=_bar, help="score=least mean; several may be given")
    parser.add_argument("--export", type=Path, help="write the answers as Ragas and DeepEval read them")
    given = parser.parse_args()
    try:
        cases = read_cases(given.cases)
        before = _kept(given.against) if given.against else None
    except (SetError, OSError, ValueError) as error:
        print(f"evaluation: {error}", file=sys.stderr)
        return 2
    outcomes = ask_all(cases, _door(given.url, os.environ))
    if all(outcome.fault for outcome in outcomes):
        print(f"evaluation: no question got an answer. {outcomes[0].fault}", file=sys.stderr)
        return 2
    if given.save:
        given.save.write_text(json.dumps([outcome.describe() for outcome in outcomes], indent=1, ensure_ascii=False))
    if given.export:
        given.export.write_text(
            "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in exported(cases, outcomes))
        )
    return report(outcomes, before, dict(given.bar))


def ask_all(cases: Sequence[Case], door: Door) -> list[Outcome]:
    """The outcome of each question, a few asked at a time."""

    def ask(case: Case) -> Outcome:
        began = time.monotonic()
        try:
            answer = door.call("POST", "/chat", {"question": case.question, "fresh": True}).json()
        except (SmokeError, OSError, ValueError) as error:
            return failed(case, str(error), time.monotonic() - began)
        except Exception as error:  # noqa: BLE001 - urllib3 has a tree of its own
            return failed(case, f"{type(error).__name__}: {error}", time.monotonic() - began)
        return score(case, answer, time.monotonic() - began)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(ask, cases))


def report(
    outcomes: Sequence[Outcome], before: Mapping[str, Mapping[str, float]] | None, bars: Mapping[str, float]
) -> int:
    """Print the table and what is wrong; 1 when something is."""
    found = estimates([outcome.scores for outcome in outcomes])
    changed = (
        differences(before, {outcome.question: outcome.scores for outcome in outcomes}) if before is not None else {}
    )
    print(f"  {'':16} {'questions':>9} {'mean':>6} {'95 %':>13} {'change' if changed else '':>8}")
    for name, now in found.items():
        print(f"  {name:16} {now.count:9} {now.mean:6.3f} {_interval(now):>13} {_change(changed.get(name))}")
    seconds = sorted(outcome.seconds for outcome in outcomes)
    print(
        f"\n  {seconds[len(seconds) // 2]:.2f} s in the middle, {seconds[-1]:.2f} s at most; {sum(o.tokens for o in outcomes):,} tokens."
    )
    for outcome in outcomes:
        if outcome.fault or min(outcome.scores.values()) < 1:
            wrong = ", ".join(f"{name} {value:.2f}" for name, value in outcome.scores.items() if value < 1)
            print(f"  - {outcome.question} ({wrong}) {outcome.fault or outcome.answer[:120]!r}")
    below = [
        f"{name} is {found[name].mean:.3f}, and should be {bar:g}"
        for name, bar in bars.items()
        if name in found and found[name].mean < bar
    ] + [f"{name} was not measured: no question of the set expects it" for name in bars if name not in found]
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


def _interval(found: Estimate) -> str:
    return f"{found.low:.3f}–{found.high:.3f}"


def _change(change: Estimate | None) -> str:
    return "" if change is None else f"{change.mean:+8.3f} ({change.low:+.3f} to {change.high:+.3f})"


def _kept(path: Path) -> dict[str, dict[str, float]]:
    """The scores of a run that was kept, by question. Raises ValueError."""
    try:
        return {each["question"]: dict(each["scores"]) for each in json.loads(path.read_text(encoding="utf-8"))}
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is no run that --save has kept.") from error


def _bar(text: str) -> tuple[str, float]:
    name, _, least = text.partition("=")
    if name not in SCORES:
        raise argparse.ArgumentTypeError(f"{name!r} is no score; there are {', '.join(SCORES)}")
    return name, float(least)


def _door(url: str, environ: Mapping[str, str]) -> Door:
    key = environ.get("HEADRACE_KEY", "")
    is_here = urlsplit(url).hostname in LOOPBACK and "HEADRACE_HOST" not in environ
    return Door(url, key=key or ("nobody" if is_here else ""), host=environ.get("HEADRACE_HOST", ""))


if __name__ == "__main__":
    sys.exit(main())
