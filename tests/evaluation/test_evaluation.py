"""`make evaluate` finds what has become worse, and nothing where nothing has."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from headrace.models.openai import open_openai_model
from headrace.types import Block
from infra.evaluation.__main__ import main
from infra.evaluation.cases import SHIPPED, Case, SetError, read_cases
from infra.evaluation.scoring import score
from infra.evaluation.statistics import differences, estimate, falls
from tests.support.http import served
from tests.support.library import Library
from tests.support.openai_server import Script

NAMES = (
    "heron",
    "badger",
    "otter",
    "falcon",
    "beaver",
    "lynx",
    "magpie",
    "salmon",
    "hedgehog",
    "marten",
    "osprey",
    "viper",
)
Evaluate = Callable[..., Any]


def level(number: int) -> int:
    return 400 + 7 * number


def litres(number: int) -> int:
    return 18 + 5 * number


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """A question for each gate and its pump, and three that nothing answers."""
    lines: list[dict[str, Any]] = [
        {
            "question": f"At what level does the {name} gate open, and how many litres does the {name} pump take?",
            "facts": [str(level(number)), f"{litres(number)} litres"],
            "documents": [f"{name}-gate.txt", f"{name}-pump.txt"],
        }
        for number, name in enumerate(NAMES)
    ]
    lines += [
        {"question": q, "refused": True} for q in ("Who won the cup in 1974?", "How do I bake bread?", "What is jazz?")
    ]
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


@pytest.fixture
async def documents(library: Library) -> Library:
    for number, name in enumerate(NAMES):
        await library.put(f"{name}-gate.txt", Block(f"The {name} gate opens at {level(number)} metres."))
        await library.put(f"{name}-pump.txt", Block(f"The {name} pump takes {litres(number)} litres of oil."))
    return library


@pytest.fixture
def evaluate(
    chat_app: Callable[..., Any],
    documents: Library,
    script: Script,
    openai_url: str,
    stack: AsyncExitStack,
    cases: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Evaluate:
    """Evaluates an application made so; gives the exit status, and what was printed."""
    # A model that says what the passages say about what it is asked.
    script.reply = lambda prompt: " ".join(re.findall(r"The \w+ (?:gate|pump) [^.]+\.", prompt)) + " [1][2]"

    async def run(*arguments: str, **changed: Any) -> tuple[int, str]:
        async with AsyncExitStack() as own:
            model = await own.enter_async_context(open_openai_model(api_key="k", base_url=openai_url, model="m"))
            url = await own.enter_async_context(served(chat_app(model, **changed)))
            monkeypatch.setattr(sys, "argv", ["evaluation", "--set", str(cases), "--url", url, *arguments])
            status = await asyncio.to_thread(main)
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


async def test_good_answers_are_good_and_the_same_again_is_no_fall(evaluate: Evaluate, tmp_path: Path) -> None:
    before = str(tmp_path / "before.json")
    status, said = await evaluate("--save", before, "--bar", "facts=0.95", "--bar", "refusal=1")
    assert status == 0, said
    assert "facts" in said
    status, said = await evaluate("--against", before)
    assert status == 0, said
    assert "+0.000" in said


async def test_a_prompt_that_has_lost_its_passages_is_found(evaluate: Evaluate, tmp_path: Path, script: Script) -> None:
    before = str(tmp_path / "before.json")
    await evaluate("--save", before)
    script.reply = lambda _prompt: "That is a very good question, and I am glad to help."
    status, said = await evaluate("--against", before)
    assert status == 1
    assert "facts fell by" in said
    assert "citations fell by" in said
    assert "hit fell" not in said, "the search is as it was"


async def test_a_lowered_retrieval_limit_is_found(evaluate: Evaluate, tmp_path: Path) -> None:
    before = str(tmp_path / "before.json")
    await evaluate("--save", before)
    status, said = await evaluate("--against", before, retrieval_limit=1)
    assert status == 1
    assert "facts fell by" in said


async def test_documents_that_say_something_else_are_found(
    evaluate: Evaluate, tmp_path: Path, documents: Library
) -> None:
    before = str(tmp_path / "before.json")
    await evaluate("--save", before)
    for name in NAMES[:7]:
        await documents.put(f"{name}-gate.txt", Block(f"The {name} gate opens at 99 metres."))
    status, said = await evaluate("--against", before)
    assert status == 1
    assert "facts fell by" in said
    status, said = await evaluate("--bar", "facts=0.99")
    assert status == 1
    assert "facts is 0." in said


async def test_what_it_writes_is_what_ragas_reads(evaluate: Evaluate, tmp_path: Path) -> None:
    await evaluate("--export", str(tmp_path / "out.jsonl"))
    first = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert first["user_input"] == first["input"]
    assert "heron" in first["retrieved_contexts"][0] + first["retrieved_contexts"][1]
    assert first["reference"] == "400; 18 litres"
    assert "400 metres" in first["response"]


def test_a_server_that_is_not_there_is_a_sentence(
    cases: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluation", "--set", str(cases), "--url", "http://127.0.0.1:9"])
    assert main() == 2
    assert "no question got an answer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "has no questions"), ("nonsense", "line 1"), ('{"question": "a"}', "expects nothing"), ('{"facts": ["a"]}', "no question"),
        ('{"question": "a", "facts": "b"}', "are lists"), ('{"question": "a", "answer": "b"}', "'answer' is not known"),
        ('{"question": "a", "refused": true, "facts": ["b"]}', "facts of a refusal"),
        ('{"question": "a", "facts": ["b"]}\n{"question": "a", "facts": ["c"]}', "a question twice"),
    ],
)  # fmt: skip
def test_a_set_that_can_t_be_read_is_told_where(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "set.jsonl").write_text(line)
    with pytest.raises(SetError, match=said):
        read_cases(tmp_path / "set.jsonl")


@pytest.mark.parametrize(
    ("answer", "fact", "is_there"),
    [
        ("It has 38 hours.", "38", True), ("It has 38 hours.", "3", False), ("It draws 3.2 m³.", "3.2", True), ("It draws 3.2 m³.", "3", False),
        ("It draws 13.2 m³.", "3.2", False), ("Between 26 and 30.", "26", True), ("**28** days", "28", True), ("Am 31. Dezember.", "31", True),
        ("TOMASZ  zielinski", "Tomasz Zielinski", True), ("3 days", "three days", False), ("1,120 euro", "120", False), ("120,5", "120", False),
    ],
)  # fmt: skip
def test_a_fact_is_in_an_answer_or_not(answer: str, fact: str, is_there: bool) -> None:
    given = {"answer": answer, "mode": "generated", "passages": [], "citations": []}
    assert score(Case("q", ((fact,),)), given, 0.0).scores["facts"] == float(is_there)


def test_an_interval_has_its_mean_and_narrows_with_more_questions() -> None:
    few, many = estimate([0.0, 1.0] * 5), estimate([0.0, 1.0] * 500)
    assert few.low < 0.5 < few.high
    assert many.high - many.low < 0.07 < few.high - few.low


def test_chance_is_no_fall_and_what_falls_is() -> None:
    before = {f"q{n}": {"facts": 1.0 if n % 4 else 0.0} for n in range(40)}
    assert falls(differences(before, before)) == []
    one = {**before, "q1": {"facts": 0.0}}
    assert falls(differences(before, one)) == []
    many = {name: {"facts": 0.0 if n < 12 else scores["facts"]} for n, (name, scores) in enumerate(before.items())}
    assert falls(differences(before, many)) == ["facts"]


def test_the_shipped_set_is_about_the_samples() -> None:
    samples = {path.name for path in (SHIPPED.parents[1] / "local" / "samples").iterdir()}
    cases = read_cases(SHIPPED)
    assert {name for case in cases for name in case.documents} <= samples
    assert sum(case.refused for case in cases) >= 3
