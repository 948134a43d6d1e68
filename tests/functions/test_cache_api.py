"""The answer cache as askers meet it, over HTTP: verdicts, replays, near questions, feedback, figures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
import pytest

from functions.chat.metrics import report_to_cloudwatch
from headrace.ledger.pricing import Pricing
from headrace.models.openai import OpenAIModel, open_openai_model
from headrace.types import Principal
from tests.support.http import SseEvent, served, sse_events
from tests.support.library import Library
from tests.support.openai_server import Script

LEAVE = "Parents may take 26 weeks of parental leave. Tell the office eight weeks before."
QUESTION = "How many weeks of parental leave may parents take?"


@pytest.fixture
async def model(openai_url: str, stack: Any) -> OpenAIModel:
    opened: OpenAIModel = await stack.enter_async_context(
        open_openai_model(api_key="k", base_url=openai_url, model="m")
    )
    return opened


async def streamed(url: str, question: str, **more: Any) -> tuple[list[SseEvent], Any]:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/chat", json={"question": question, **more}) as response:
            assert response.status == 200, await response.text()
            return [event async for event in sse_events(response)], response.headers


async def posted(url: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any], Any]:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}{path}", json=body, headers={"accept": "application/json"}) as response:
            return response.status, await response.json(), response.headers


async def test_a_replay_is_byte_for_byte_what_was_streamed_but_for_the_marks_of_the_cache(
    chat_app: Callable[..., Any],
    model: OpenAIModel,
    script: Script,
    library: Library,
    embedded: list[str],
) -> None:
    await library.put("handbook.docx", LEAVE)
    script.reply = lambda _: "You get 26 weeks of “parental” leave [1], and no more [1]."
    embedded.clear()
    async with served(chat_app(model)) as url:
        first, miss = await streamed(url, QUESTION)
        again, hit = await streamed(url, QUESTION)
    assert (miss["X-Cache"], hit["X-Cache"]) == ("miss", "hit")
    assert embedded == [QUESTION], "a hit embeds nothing"
    assert int(hit["Age"]) <= 1
    assert len(script.requests) == 1
    status = again[0].data
    assert (status["stage"], status["cache"], status["similarity"]) == ("cached", "hit", 1.0)
    assert status["age_seconds"] >= 0

    def marked_off(event: SseEvent) -> str:
        marks = {"cached", "conversation_id"}
        return f"{event.name}: {json.dumps({k: v for k, v in event.data.items() if k not in marks})}"

    rest = [event for event in first if event.name != "status"]
    assert [marked_off(e) for e in again[1:]] == [marked_off(e) for e in rest]
    assert [e.data for e in again if e.name == "token"] == [e.data for e in first if e.name == "token"]
    assert len([e for e in first if e.name == "token"]) > 5, "the original boundaries"
    assert (first[-1].data["cached"], again[-1].data["cached"]) == (False, True)
    assert first[-1].data["answer_id"] == again[-1].data["answer_id"]


async def test_the_openai_stream_of_a_hit_has_the_same_deltas_citations_and_usage(
    chat_app: Callable[..., Any], model: OpenAIModel, script: Script, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    script.reply = lambda _: "You get 26 weeks of parental leave [1]."
    body = {
        "model": "headrace", "messages": [{"role": "user", "content": QUESTION}], "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    told = []
    async with served(chat_app(model)) as url, aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.post(f"{url}/v1/chat/completions", json=body) as response:
                events = [event.data async for event in sse_events(response) if isinstance(event.data, dict)]
                told.append((response.headers["X-Cache"], events))
    assert [verdict for verdict, _ in told] == ["miss", "hit"]
    for chunks in (events for _, events in told):
        for chunk in chunks:
            chunk.pop("id")
            chunk.pop("created")
            chunk.get("headrace", {}).pop("cached", None)
    assert told[0][1] == told[1][1]
    assert len(script.requests) == 1


async def test_the_same_question_in_other_words_gets_the_answer_that_the_judge_accepts(
    chat_app: Callable[..., Any], model: OpenAIModel, script: Script, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE + " Sick leave is 10 weeks. The Berlin office closes at 5.")
    script.reply = lambda _: "It is so [1]."
    same = "Please tell me: for how many weeks may parents take parental leave?"
    script.choose = lambda prompt: "A" if same in prompt else "none"
    others = (
        "How many weeks of sick leave may parents take?",
        "How many weeks of parental leave may parents not take?",
        "How many weeks of parental leave may parents take in Berlin?",
    )
    async with served(chat_app(model, judge=model)) as url:
        await streamed(url, QUESTION)
        events, headers = await streamed(url, same)
        assert headers["X-Cache"] == "hit"
        assert 0.7 < events[0].data["similarity"] < 1
        assert events[0].data["judge_tokens"] > 0
        for other in others:
            events, headers = await streamed(url, other)
            assert headers["X-Cache"] == "miss", other
            assert events[0].data["judge_tokens"] > 0, other
        judged = len(script.choices())
        assert judged == 1 + len(others)
        for question, verdict in ((same, "hit"), (others[0], "hit"), (same.upper(), "hit")):
            events, headers = await streamed(url, question)
            assert headers["X-Cache"] == verdict, question
            assert "judge_tokens" not in events[0].data, "what was judged once is not judged again"
        assert len(script.choices()) == judged
        assert len(script.answers()) == 1 + len(others)
        _, stats, _ = await got(url, "/cache/stats")
    assert stats["hits"] == {"exact": 3, "semantic": 1}
    assert stats["lookups"] == 8
    assert stats["judged"] == judged
    assert stats["judge_tokens"] > 0
    assert stats["tokens_saved"] > 0


async def test_a_fresh_answer_is_made_now_and_is_nobody_elses(
    chat_app: Callable[..., Any], model: OpenAIModel, script: Script, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    async with served(chat_app(model)) as url:
        await streamed(url, QUESTION)
        asked = len(script.requests)
        events, headers = await streamed(url, QUESTION, fresh=True)
        assert headers["X-Cache"] == "bypass"
        assert events[-1].data["answer_id"] is None
        assert len(script.requests) == asked + 1
        _, headers = await streamed(url, QUESTION)
        assert headers["X-Cache"] == "hit", "what the others share stays"


async def got(url: str, path: str) -> tuple[int, dict[str, Any], Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}{path}") as response:
        return response.status, await response.json(), response.headers


async def test_an_answer_that_a_conversation_shaped_is_nobody_elses(
    chat_app: Callable[..., Any], model: OpenAIModel, script: Script, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    async with served(chat_app(model)) as url:
        first, headers = await streamed(url, QUESTION)
        assert headers["X-Cache"] == "miss"
        conversation = first[-1].data["conversation_id"]
        for _ in range(2):
            events, headers = await streamed(url, QUESTION, conversation_id=conversation)
            assert headers["X-Cache"] == "bypass"
            assert events[-1].data["answer_id"] is None
        _, headers = await streamed(url, QUESTION)
        assert headers["X-Cache"] == "hit", "a question that begins a conversation has no history"


async def test_a_reader_whose_answers_are_quotes_has_the_cache_in_conversations_too(
    chat_app: Callable[..., Any], library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    async with served(chat_app()) as url:
        first, _ = await streamed(url, QUESTION)
        _, headers = await streamed(url, QUESTION, conversation_id=first[-1].data["conversation_id"])
        assert headers["X-Cache"] == "hit", "quotes depend on the question alone"


async def test_a_wrong_answer_is_not_given_again(
    chat_app: Callable[..., Any], model: OpenAIModel, script: Script, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    answers = iter(["It is 12 weeks [1].", "It is 26 weeks [1]."])
    script.reply = lambda _: next(answers)
    async with served(chat_app(model)) as url:
        _, wrong, _ = await posted(url, "/chat", {"question": QUESTION})
        status, said, _ = await posted(url, "/feedback", {"answer_id": wrong["answer_id"], "verdict": "wrong"})
        assert (status, said["invalidated"]) == (200, True)
        _, right, headers = await posted(url, "/chat", {"question": QUESTION})
        assert (right["answer"], headers["X-Cache"]) == ("It is 26 weeks [1].", "miss")
        _, stats, _ = await got(url, "/cache/stats")
        assert stats["invalidated"] == {"wrong": 1}
        for body, says in (
            ({"answer_id": f"{'0' * 24}-{'0' * 24}", "verdict": "wrong"}, "no such answer"),
            ({"answer_id": "../x", "verdict": "wrong"}, "answer_id"),
            ({"answer_id": right["answer_id"], "verdict": "meh"}, "verdict"),
            ({"answer_id": right["answer_id"], "verdict": "wrong", "filter": {"page": 1}}, "filter"),
        ):
            status, error, _ = await posted(url, "/feedback", body)
            assert status == 400
            assert says in error["error"]["message"]
    async with served(chat_app(model, principal=Principal(library.tenant, frozenset({"hr"})))) as url:
        status, _, _ = await posted(url, "/feedback", {"answer_id": right["answer_id"], "verdict": "wrong"})
        assert status == 400, "it is not this asker's answer"


async def test_each_answer_is_reported_with_its_verdict(
    chat_app: Callable[..., Any],
    model: OpenAIModel,
    script: Script,
    library: Library,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await library.put("handbook.docx", LEAVE)
    script.choose = lambda _: "A"
    near = "For how many weeks may parents take parental leave?"
    report = partial(report_to_cloudwatch, namespace="Headrace", pricing=Pricing())
    lines: list[dict[str, Any]] = []
    async with served(chat_app(model, judge=model, report=report)) as url:
        conversation: dict[str, str] = {}
        for number, question in enumerate((QUESTION, QUESTION, near, QUESTION), 1):
            _, answer, _ = await posted(url, "/chat", {"question": question, **conversation})
            conversation = {"conversation_id": answer["conversation_id"]} if number == 3 else {}
            # An answer is reported a moment after its end.
            async with asyncio.timeout(5):
                while len(lines) < number:
                    lines += [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
                    await asyncio.sleep(0.01)
    assert [[name for name in line if name.startswith("Cache")] for line in lines] == [
        ["CacheMisses"], ["CacheHits"], ["CacheHits"], ["CacheBypasses"],
    ]  # fmt: skip
    assert [line["TokensSaved"][0] > 0 for line in lines] == [False, True, True, False]
    assert [line["JudgeTokens"][0] > 0 for line in lines] == [False, False, True, False]
    assert all(0 < line["TimeToFirstToken"][0] < 60_000 for line in lines), "milliseconds, hits among them"
