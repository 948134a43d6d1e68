"""Collects questions for a set: from the documents, by a model, or from what askers said of their answers.

    python -m infra.questions documents [--count 20] [--url URL] [--model MODEL] [--out FILE]
    python -m infra.questions feedback [--days 30] [--url URL] [--out FILE]

From documents: parts of documents are drawn by chance, and a model (the one named, or CHAT_MODEL of the environment, with
OPENAI_API_KEY as chat has it) asks what each of them answers, in its language; a question whose facts are not in the part word
for word is left out. Read them before you trust a score. From feedback: an answer that was liked becomes a question that should
rest on the documents that it cited; one that was disliked becomes a draft, which `make evaluate` passes over until somebody says
what is expected. HEADRACE_KEY is the key that it asks with: a reader's for documents, an admin's for feedback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from headrace.errors import HeadraceError
from headrace.settings import Settings
from infra.evaluation.asking import FAULTS, LOCAL, door_to
from infra.questions.documents import from_documents
from infra.questions.feedback import from_feedback

MOST = 500


def main() -> int:
    """Read the command line, collect, write; 2 when it could not be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", choices=("documents", "feedback"))
    parser.add_argument("--count", type=_count, default=20, help="questions from documents (default 20)")
    parser.add_argument("--days", type=int, default=30, help="how far feedback goes back (default 30)")
    parser.add_argument("--url", default=LOCAL, help=f"of the chat function (default {LOCAL})")
    parser.add_argument("--model", default="", help="who asks (default: CHAT_MODEL)")
    parser.add_argument("--out", type=Path, help="the set, which is added to (default: standard output)")
    given = parser.parse_args()
    door = door_to(given.url, os.environ)
    try:
        if given.source == "documents":
            settings = Settings.from_env(os.environ)
            lines = asyncio.run(from_documents(door, settings, count=given.count, model=given.model))
        else:
            lines = from_feedback(door, days=given.days)
        written = _write(lines, given.out)
    except (*FAULTS, HeadraceError) as error:
        print(f"questions: {error}", file=sys.stderr)
        return 2
    print(f"{written} questions{f' are in {given.out}' if given.out else ''}.", file=sys.stderr)
    return 0


def _write(lines: Iterable[dict[str, Any]], path: Path | None) -> int:
    """Write what the set does not have yet; how many."""
    known = set()
    if path is not None and path.exists():
        known = {json.loads(line)["question"] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()}
    news = {line["question"]: line for line in lines if line["question"] not in known}
    text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in news.values())
    if path is None:
        sys.stdout.write(text)
    else:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    return len(news)


def _count(text: str) -> int:
    if not 1 <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"from 1 to {MOST}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
