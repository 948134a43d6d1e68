"""`make evaluate` finds what has become worse, and nothing where nothing has."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from headrace.concurrency.on_demand import on_demand
from headrace.ledger.pricing import Pricing
from headrace.ledger.sql import open_sql_ledger
from headrace.models.openai import open_openai_model
from headrace.redis_state.ledger_queue import KEY, RedisLedgerQueue
from headrace.types import Block
from infra.evaluation.__main__ import main
from infra.evaluation.asking import door_to
from infra.evaluation.cases import SHIPPED, Case, SetError, read_cases
from infra.evaluation.scoring import score
from infra.evaluation.statistics import differences, estimate, falls
from infra.questions.__main__ import main as collect
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
def run(
    chat_app: Callable[..., Any],
    documents: Library,
    script: Script,
    openai_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Evaluate:
    """Runs a command against an application made so; gives the exit status, and what was printed."""
    # A model that says what the passages say about what it is asked.
    script.reply = lambda prompt: " ".join(re.findall(r"The \w+ (?:gate|pump) [^.]+\.", prompt)) + " [1][2]"
    for name, value in {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": openai_url, "CHAT_MODEL": "m"}.items():
        monkeypatch.setenv(name, value)

    async def run(command: Callable[[], int], *arguments: str, **changed: Any) -> tuple[int, str]:
        async with AsyncExitStack() as own:
            model = await own.enter_async_context(open_openai_model(api_key="k", base_url=openai_url, model="m"))
            url = await own.enter_async_context(served(chat_app(model, **changed)))
            monkeypatch.setattr(sys, "argv", ["command", *arguments, "--url", url])
            status = await asyncio.to_thread(command)
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


@pytest.fixture
def evaluate(run: Evaluate, cases: Path) -> Evaluate:
    """Evaluates the set."""
    return partial(run, main, "--set", str(cases))


@pytest.fixture
async def ledger(redis: Redis, stack: AsyncExitStack, tmp_path: Path) -> dict[str, Any]:
    """What an application keeps its ledger with."""
    await redis.delete(KEY)
    opening = partial(open_sql_ledger, f"sqlite:///{tmp_path}/ledger.db", pricing=Pricing({"m": (1.0, 2.0)}))
    opened = await stack.enter_async_context(on_demand(opening))
    return {"ledger_queue": RedisLedgerQueue(redis), "ledger": opened}


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


def as_the_passages_say(prompt: str) -> dict[str, Any]:
    """A judge's verdicts: a sentence of the answer is borne out where a passage has it."""
    passages, _, answer = prompt.partition("<question-")
    answer = answer.partition("<answer-")[2]
    claims = re.findall(r"The \w+ \w+ [^.]+\.", answer)
    return {
        "claims": [{"claim": each, "verdict": "supported" if each in passages else "unsupported"} for each in claims]
    }


async def test_a_judge_finds_what_the_passages_do_not_say(evaluate: Evaluate, tmp_path: Path, script: Script) -> None:
    script.forms["claims"] = as_the_passages_say
    before = str(tmp_path / "before.json")
    status, said = await evaluate("--judge", "--save", before, "--bar", "groundedness=1")
    assert status == 0, said
    good = script.reply
    script.reply = lambda prompt: good(prompt).replace(" [1][2]", " The heron gate was built in 1874. [1][2]")
    status, said = await evaluate("--judge", "--against", before)
    assert status == 1
    assert "groundedness fell by" in said
    assert "no passage bears out: The heron gate was built in 1874." in said
    assert "facts fell" not in said, "what was right is still there"
    assert "The judge read and wrote" in said


async def test_a_judge_reads_what_the_model_has_read(
    run: Evaluate, library: Library, tmp_path: Path, script: Script
) -> None:
    """A fact that stands beside the passage that was found was read by who wrote the answer."""
    parts = [
        f"The heron mill {said}. " + "It stands there. " * 45
        for said in ("has 12 wheels", "was built in 1874", "grinds rye")
    ]
    await library.put("mill.txt", *parts)
    path = tmp_path / "mill.jsonl"
    path.write_text(json.dumps({"question": "In which year was the heron mill built?", "facts": ["1874"]}))
    script.reply = lambda prompt: " ".join(re.findall(r"The \w+ mill [^.]+\.", prompt)) + " [1]"
    judged: list[str] = []

    def judge(prompt: str) -> dict[str, Any]:
        judged.append(prompt)
        return as_the_passages_say(prompt)

    script.forms["claims"] = judge
    status, said = await run(main, "--set", str(path), "--judge", "--bar", "groundedness=1", retrieval_limit=1)
    assert status == 0, said
    assert "12 wheels" in judged[0].partition("<question-")[0]
    assert "mill.txt" in judged[0]


async def test_who_asks_too_fast_waits_as_long_as_it_is_told() -> None:
    times: list[float] = []
    clients = set()

    async def limited(request: Request) -> Response:
        times.append(time.monotonic())
        clients.add(request.client)
        return JSONResponse({"ok": True}) if len(times) > 1 else Response("no " * 500, 429, {"Retry-After": "2"})

    async with served(Starlette(routes=[Route("/me", limited)])) as url:
        answer = await asyncio.to_thread(door_to(url, {}).call, "GET", "/me")
    assert answer.json() == {"ok": True}
    assert times[1] - times[0] >= 2
    assert len(clients) == 1, "a refused request gives its connection back"


def test_a_judge_that_is_not_there_is_told_before_anything_is_asked(
    cases: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluation", "--set", str(cases), "--url", "http://127.0.0.1:9", "--judge"])
    assert main() == 2
    assert "No model can judge" in capsys.readouterr().err


async def test_what_a_judge_can_t_say_is_left_out_and_said(evaluate: Evaluate, script: Script) -> None:
    script.forms["claims"] = lambda prompt: {"claims": [{"claim": "x", "verdict": "perhaps"}]}
    status, said = await evaluate("--judge", "--bar", "groundedness=0.5")
    assert status == 1
    assert "12 answers could not be judged" in said
    assert "groundedness was not measured" in said


async def test_outcomes_are_kept_in_the_ledger_with_what_they_cost(
    evaluate: Evaluate, run: Evaluate, ledger: dict[str, Any]
) -> None:
    _, said = await evaluate("--name", "nightly", **ledger)
    found = re.search(r"Kept in the ledger as (\w{16}) \(nightly\); the answers cost \$0\.\d{4}", said)
    assert found, said

    def look(url: str) -> tuple[Any, Any]:
        door = door_to(url, {})
        listed = door.call("GET", "/admin/evaluations").json()
        return listed["evaluations"], door.call("GET", f"/admin/evaluations/{listed['evaluations'][0]['id']}").json()

    seen: list[Any] = []

    def command() -> int:
        seen.extend(look(sys.argv[-1]))
        return 0

    await run(command, **ledger)
    (line,), whole = seen
    assert (line["id"], line["name"], line["scores"]["facts"]["count"]) == (found[1], "nightly", 12)
    assert line["dollars"] > 0
    assert "questions" not in line
    assert len(whole["questions"]) == 15
    assert all(re.fullmatch(r"[0-9a-f]{16}", each["record"]) for each in whole["questions"])
    assert await (await ledger["ledger"].get()).evaluation("another", line["id"]) is None


def asked_of(prompt: str) -> dict[str, Any]:
    """A question about the part, whose second fact is not in it."""
    name, kind = re.search(r"The (\w+) (gate|pump)", prompt).groups()  # type: ignore[union-attr]
    return {
        "question": f"What is known of the {kind} that is called {name}?",
        "facts": [*re.findall(r"\d+", prompt.split("\n")[1]), "blue"],
    }


async def test_questions_are_made_of_the_documents_with_facts_that_are_in_them(
    run: Evaluate, library: Library, tmp_path: Path, script: Script
) -> None:
    more = " It stands at the old mill, is looked at each spring, and was painted anew when the mill was closed for good, as all of them were."
    for number, name in enumerate(NAMES[:4]):
        await library.put(f"{name}-gate.txt", Block(f"The {name} gate opens at {level(number)} metres.{more}"))
    script.forms["question"] = asked_of
    path = tmp_path / "made.jsonl"
    # As many as draw each of the 24 documents, whatever chance does.
    drawing = ("documents", "--count", "24", "--out", str(path))
    status, said = await run(collect, *drawing)
    assert status == 0, said
    made, _ = read_cases(path)
    # The pumps' parts are too short to be asked about.
    assert {case.question for case in made} == {
        f"What is known of the gate that is called {name}?" for name in NAMES[:4]
    }
    for case in made:
        (name,) = [name for name in NAMES if name in case.question]
        assert case.documents == (f"{name}-gate.txt",)
        assert case.facts == ((str(level(NAMES.index(name))),),), "what is not in the part is no fact"
    status, said = await run(collect, *drawing)
    assert (status, len(read_cases(path)[0])) == (0, len(made)), "a set is added to, and has no question twice"
    status, said = await run(main, "--set", str(path), "--bar", "facts=1", "--bar", "hit=1")
    assert status == 0, said


async def test_feedback_becomes_questions_and_drafts(run: Evaluate, ledger: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "said.jsonl"
    questions = ("At what level does the heron gate open?", "How much oil does the otter pump take?")

    def rate() -> int:
        door = door_to(sys.argv[-1], {})
        for question, rating in zip(questions, ("up", "down"), strict=True):
            record = door.call("POST", "/chat", {"question": question}).headers["X-Request-Id"]
            door.call("POST", "/feedback", {"request_id": record, "rating": rating, "comment": "In litres, please."})
        return 0

    await run(rate, **ledger)
    status, said = await run(collect, "feedback", "--out", str(path), **ledger)
    assert status == 0, said
    liked, disliked = map(json.loads, path.read_text().splitlines())
    assert liked["question"] == questions[0]
    assert "heron-gate.txt" in liked["documents"]
    assert disliked == {"question": questions[1], "draft": "In litres, please."}
    status, said = await run(main, "--set", str(path), **ledger)
    assert "1 drafts are passed over" in said


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
    cases, drafts = read_cases(SHIPPED)
    assert drafts == 0
    assert {name for case in cases for name in case.documents} <= samples
    assert sum(case.refused for case in cases) >= 3
