"""Asks a running Headrace a set of questions, and says how good its answers are.

    python -m infra.evaluation [--set FILE] [--url URL] [--judge [MODEL]] [--save FILE] [--against FILE] [--bar facts=0.9]
                               [--export FILE] [--name NAME]

FILE of the set has a line of JSON a question: `{"question": …, "facts": ["26", ["three days", "3 days"]], "documents":
["handbook.docx"]}`, or `"refused": true` for what the documents do not have; lines with a `draft` are passed over. Each score is
printed with its 95 % interval: hit and reciprocal_rank of the expected documents among the passages, facts in the answer,
citations of expected documents, refusal when it is due; with `--judge` groundedness, the share of an answer's statements that its
passages bear out, by a model (the one named, or JUDGE_MODEL or CHAT_MODEL of the environment, with OPENAI_API_KEY as chat has it).
`--against` compares with a run that `--save` kept, question by question; `--bar` names the least mean of a score. It ends with
status 1 when a score is below its bar, or fell beyond its interval; so it can stand before a deployment. `--export` writes what
Ragas and DeepEval read. Where a ledger is kept and who asks is an admin, the outcome is kept there, under the set's name or
`--name`, and what the answers cost is said. HEADRACE_KEY is the key that it asks with; without one AWS credentials sign, or on
this machine nobody.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from headrace.errors import ConfigurationError
from headrace.settings import Settings
from infra.aws.smoke import Door
from infra.evaluation.asking import FAULTS, LOCAL, ask_all, door_to, keep
from infra.evaluation.cases import SHIPPED, SetError, read_cases
from infra.evaluation.judging import judge_all, judge_of
from infra.evaluation.report import exported, report
from infra.evaluation.scoring import SCORES, Outcome


def main() -> int:
    """Read the command line, ask, print; 1 when it is not good enough, 2 when it could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", type=Path, default=SHIPPED, dest="cases", help="(default: questions on the samples)")
    parser.add_argument("--url", default=LOCAL, help=f"of the chat function (default {LOCAL})")
    parser.add_argument("--judge", nargs="?", const="", metavar="MODEL", help="have a model judge groundedness")
    parser.add_argument("--save", type=Path, help="keep the outcomes here")
    parser.add_argument("--against", type=Path, help="outcomes that were kept, to compare with")
    parser.add_argument("--bar", action="append", default=[], type=_bar, help="score=least mean; several may be given")
    parser.add_argument("--export", type=Path, help="write the answers as Ragas and DeepEval read them")
    parser.add_argument("--name", help="what the ledger keeps it under (default: the set's file)")
    given = parser.parse_args()
    try:
        cases, drafts = read_cases(given.cases)
        before = _kept(given.against) if given.against else None
        settings = None if given.judge is None else Settings.from_env(os.environ)
        judge = "" if settings is None else judge_of(settings, given.judge)
    except (SetError, ConfigurationError, OSError, ValueError) as error:
        print(f"evaluation: {error}", file=sys.stderr)
        return 2
    if drafts:
        print(f"  {drafts} drafts are passed over: nobody has said yet what is expected of them.")
    door = door_to(given.url, os.environ)
    outcomes = ask_all(cases, door)
    if all(outcome.fault for outcome in outcomes):
        print(f"evaluation: no question got an answer. {outcomes[0].fault}", file=sys.stderr)
        return 2
    if settings is not None:
        outcomes = _judged(outcomes, settings, judge)
    if given.save:
        given.save.write_text(json.dumps([outcome.describe() for outcome in outcomes], indent=1, ensure_ascii=False))
    if given.export:
        given.export.write_text(
            "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in exported(cases, outcomes))
        )
    status = report(outcomes, before, dict(given.bar))
    _keep(given.name or given.cases.stem, outcomes, door)
    return status


def _judged(outcomes: Sequence[Outcome], settings: Settings, model: str) -> list[Outcome]:
    judged = asyncio.run(judge_all(outcomes, settings, model))
    print(f"  The judge read and wrote {judged.tokens:,} tokens.")
    if judged.faults:
        print(f"  {len(judged.faults)} answers could not be judged. {judged.faults[0]}")
    return judged.outcomes


def _keep(name: str, outcomes: Sequence[Outcome], door: Door) -> None:
    try:
        kept = keep(name, outcomes, door)
    except FAULTS as error:
        print(f"evaluation: the ledger has not kept it. {error}", file=sys.stderr)
        return
    if kept is not None:
        cost = "" if kept["dollars"] is None else f"; the answers cost ${kept['dollars']:.4f}"
        print(f"\n  Kept in the ledger as {kept['id']} ({name}){cost}.")


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


if __name__ == "__main__":
    sys.exit(main())
