"""The chat API as its users meet it, over HTTP."""

from __future__ import annotations

import asyncio
import json
from array import array
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from headrace.answering.cached import partition_of
from headrace.answering.dependencies import AnswerDependencies
from headrace.answering.phrases import PHRASES
from headrace.embedders.minilm import MiniLMEmbedder
from headrace.models.openai import OpenAIModel, open_openai_model
from headrace.redis_state.registry import RedisRegistry
from headrace.redis_state.relay import RedisRelay
from headrace.retrieval.question_vectors import REMEMBERED_QUESTIONS
from headrace.retrieval.retriever import RetrievalOptions, Retriever
from headrace.stores.qdrant import QdrantStore
from headrace.types import Block, CacheKey, Message, Principal, Question, Role, Scope
from tests.support.http import SseEvent, served, sse_events
from tests.support.library import Library
from tests.support.openai_server import Script
from tests.support.prompts import question_in

LEAVE = "Parents may take 26 weeks of parental leave. Tell the office eight weeks before."
OIL = "The main bearing takes 18 litres of turbine oil. Change the oil every two years."


@pytest.fixture
async def url(chat_app: Callable[..., Any], library: Library, stack: AsyncExitStack) -> str:
    """The application with the extractive model and two documents."""
    await library.put("handbook.docx", Block(LEAVE, section=("Leave", "Parental leave")))
    await library.put("manual.pdf", Block(OIL, page=3))
    return await stack.enter_async_context(served(chat_app()))


@pytest.fixture
async def model(openai_url: str, stack: AsyncExitStack) -> OpenAIModel:
    return await stack.enter_async_context(open_openai_model(api_key="k", base_url=openai_url, model="m"))


async def ask(url: str, question: str, **more: Any) -> dict[str, Any]:
    headers = {"accept": "application/json"}
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/chat", json={"question": question, **more}, headers=headers) as response:
            assert response.status == 200, await response.text()
            answer: dict[str, Any] = await response.json()
            return answer


async def streamed(url: str, question: str, **more: Any) -> list[SseEvent]:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/chat", json={"question": question, **more}) as response:
            assert response.status == 200, await response.text()
            assert response.headers["content-type"].startswith("text/event-stream")
            return [event async for event in sse_events(response)]


async def test_an_answer_streams_as_typed_events(url: str) -> None:
    events = await streamed(url, "How many weeks of parental leave are there?")
    names = [event.name for event in events]
    assert names[:3] == ["status", "status", "passages"]
    assert names[-2:] == ["usage", "done"]
    assert names.count("token") > 5
    assert events[0].data == {"stage": "searching", "cache": "miss"}
    assert events[1].data["mode"] == "extractive"
    assert "No language model" in events[1].data["note"]
    done = events[-1].data
    assert (done["mode"], done["finish_reason"], done["cached"]) == ("extractive", "stop", False)


async def test_a_citation_resolves_to_a_document_a_place_and_the_quoted_text(url: str, library: Library) -> None:
    answer = await ask(url, "How many weeks of parental leave are there?")
    citation = answer["citations"][0]
    assert citation["document"] == f"documents/{library.tenant}/handbook.docx"
    assert citation["place"] == "Leave › Parental leave"
    assert citation["quote"] == "Parents may take 26 weeks of parental leave."
    passage = answer["passages"][citation["number"] - 1]
    assert passage["text"][citation["start"] : citation["end"]] == citation["quote"]
    assert f"[{citation['number']}]" in answer["answer"]
    assert "“Parents may take 26 weeks of parental leave.”" in answer["answer"]
    other = (await ask(url, "How much turbine oil does the main bearing take?"))["citations"][0]
    assert (other["name"], other["page"]) == ("manual.pdf", 3)


async def test_the_json_says_what_the_stream_says(url: str) -> None:
    events = await streamed(url, "How often is the oil changed?")
    answer = await ask(url, "How often is the oil changed?")
    assert answer["answer"] == "".join(e.data["text"] for e in events if e.name == "token")
    assert answer["citations"] == [e.data for e in events if e.name == "citation"]
    assert answer["cached"] is True


async def test_what_the_documents_do_not_say_is_refused(url: str) -> None:
    for question in ("What is the capital of France?", "Who wrote Hamlet?"):
        answer = await ask(url, question)
        assert (answer["answer"], answer["mode"], answer["citations"]) == (PHRASES["en"].refusal, "refused", [])


async def test_a_changed_document_changes_the_answer_at_once(url: str, library: Library) -> None:
    question = "How many weeks of parental leave are there?"
    assert "26 weeks" in (await ask(url, question))["answer"]
    await library.put("handbook.docx", "Parents may take 31 weeks of parental leave.")
    answer = await ask(url, question)
    assert "31 weeks" in answer["answer"]
    assert "26 weeks" not in json.dumps(answer)
    assert answer["cached"] is False


async def test_another_tenants_documents_are_never_found(url: str, library: Library) -> None:
    await library.put("secret.txt", "The launch code of the rocket is 7351.", tenant=f"{library.tenant}-b")
    answer = await ask(url, "What is the launch code of the rocket?")
    assert answer["mode"] == "refused"
    assert "7351" not in json.dumps(answer)


async def test_a_repeated_question_replays_the_same_events_marked_as_cached(url: str) -> None:
    first, second = [await streamed(url, "How much oil does the main bearing take?") for _ in range(2)]
    assert second[0].data["stage"] == "cached"
    assert second[0].data["age_seconds"] >= 0
    kept = [event.raw for event in first if event.name in {"passages", "token", "citation", "usage"}]
    assert [event.raw for event in second if event.name not in {"status", "done"}] == kept
    assert second[-1].data["cached"] is True


async def test_a_filter_narrows_the_search(url: str) -> None:
    question = "How many weeks of parental leave are there?"
    assert (await ask(url, question, filter={"name": "manual.pdf"}))["mode"] == "refused"
    assert (await ask(url, question, filter={"name": "handbook.docx"}))["mode"] == "extractive"


async def test_documents_are_listed_with_their_states(url: str, library: Library) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/documents") as response:
        documents = (await response.json())["documents"]
    assert [d["key"] for d in documents] == [f"documents/{library.tenant}/{n}" for n in ("handbook.docx", "manual.pdf")]
    assert {(d["state"], d["reason"], d["chunks"], d["searchable"]) for d in documents} == {("ready", "", 1, True)}


async def test_health_and_readiness(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/healthz") as response:
            assert (response.status, await response.json()) == (200, {"status": "ok"})
        async with session.get(f"{url}/readyz") as response:
            assert response.status == 200
            assert (await response.json())["parts"]["registry"] == {"ready": True}


async def test_readiness_names_the_part_that_fails_and_why(
    chat_app: Callable[..., Any], model: OpenAIModel, script: Script
) -> None:
    script.api_key = "another"
    async with served(chat_app(model)) as url, aiohttp.ClientSession() as session:
        async with session.get(f"{url}/readyz") as response:
            assert response.status == 503
            deps = (await response.json())["parts"]
    assert deps["registry"]["ready"] is True
    assert "OPENAI_API_KEY" in deps["model"]["reason"]


async def test_the_page_is_served(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.headers["content-type"].startswith("text/html")
        assert "<title>Headrace</title>" in await response.text()


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/chat", b"{", None),
        ("/chat", b"[]", None),
        ("/chat", b"{}", "question"),
        ("/chat", b'{"question": "  "}', "question"),
        ("/chat", b'{"question": 7}', "question"),
        ("/chat", json.dumps({"question": "x" * 9000}).encode(), "question"),
        ("/chat", b'{"question": "x", "filter": {"tenant": "other"}}', "filter"),
        ("/chat", b'{"question": "x", "filter": {"page": {"$regex": "."}}}', "filter"),
        ("/chat", b'{"question": "x", "surprise": 1}', "surprise"),
        ("/v1/chat/completions", b'{"model": "headrace", "messages": []}', "messages"),
        (
            "/v1/chat/completions",
            b'{"model": "headrace", "messages": [{"role": "assistant", "content": "x"}]}',
            "messages",
        ),
        ("/v1/chat/completions", b'{"messages": [{"role": "user", "content": "x"}]}', "model"),
    ],
)
async def test_bad_input_is_a_clear_400(url: str, path: str, body: bytes, param: str | None) -> None:
    for accept in ("application/json", "text/event-stream"):
        headers = {"content-type": "application/json", "accept": accept}
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{url}{path}", data=body, headers=headers) as response:
                error = (await response.json())["error"]
                assert response.status == 400
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert "Traceback" not in error["message"]


async def test_an_unknown_path_is_a_404_in_the_same_form(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/nothing") as response:
        assert response.status == 404
        assert (await response.json())["error"]["code"] == "http_404"


async def test_a_language_model_answers_from_the_passages_with_citations(
    chat_app: Callable[..., Any], model: OpenAIModel, script: Script, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    script.reply = lambda _: "You get 26 weeks of parental leave [1], and `a[1]` is code [9]."
    async with served(chat_app(model)) as url:
        answer = await ask(url, "How long is parental leave?")
    assert answer["answer"] == "You get 26 weeks of parental leave [1], and `a[1]` is code ."
    assert answer["mode"] == "generated"
    assert [c["quote"] for c in answer["citations"]] == ["Parents may take 26 weeks of parental leave."]
    assert answer["usage"]["completion_tokens"] == 13
    asked = script.requests[0]["messages"]
    assert [m["role"] for m in asked] == ["system", "user"]
    assert LEAVE in asked[1]["content"]


async def test_tokens_arrive_as_the_model_writes_them(
    chat_app: Callable[..., Any], model: OpenAIModel, script: Script, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    script.reply = lambda _: "one two three four five six [1]"
    release = asyncio.Event()
    script.token_gap_seconds = 0.05
    seen = 0
    async with served(chat_app(model)) as url, aiohttp.ClientSession() as session:
        async with session.post(f"{url}/chat", json={"question": "How long is parental leave?"}) as response:
            async for event in sse_events(response):
                if event.name == "token":
                    seen += 1
                    # The model is still writing while its first words are here.
                    if seen == 1:
                        assert script.open_streams == 1
                        release.set()
    assert release.is_set()
    assert seen == 7


async def test_a_model_that_fails_midway_ends_in_an_error_event_and_is_not_remembered(
    chat_app: Callable[..., Any], model: OpenAIModel, script: Script, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    script.fail = ["cut"]
    async with served(chat_app(model)) as url:
        events = await streamed(url, "How long is parental leave?")
        assert events[-1].name == "error"
        assert events[-1].data["code"] == "model_unavailable"
        assert "done" not in [event.name for event in events]
        assert (await ask(url, "How long is parental leave?"))["cached"] is False


async def test_an_answer_past_the_deadline_ends_in_an_error_event(
    chat_app: Callable[..., Any], model: OpenAIModel, script: Script, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    script.reply, script.token_gap_seconds = lambda _: "word " * 1000, 0.1
    async with served(chat_app(model, deadline_seconds=3.0)) as url:
        events = await streamed(url, "How long is parental leave?")
        assert events[-1].data["code"] == "deadline_exceeded"
        async with asyncio.timeout(5):
            while script.open_streams:
                await asyncio.sleep(0.01)


async def test_an_answer_that_does_not_begin_before_the_deadline_is_a_504(
    chat_app: Callable[..., Any], answer_deps: Callable[..., AnswerDependencies], redis: Redis, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    question, deps = Question("How long is parental leave?", Principal(library.tenant)), answer_deps()
    partition = partition_of(question, deps)
    assert partition is not None
    key = CacheKey(partition, question.text)
    # Another process leads, and sends nothing.
    run = f"{library.tenant}/{key.answer_id}@{(await deps.cache.find(key)).revision}"
    assert await RedisRelay(redis, lease_seconds=30).lead(run)
    async with served(chat_app(deadline_seconds=0.5)) as url, aiohttp.ClientSession() as session:
        async with session.post(f"{url}/chat", json={"question": question.text}) as response:
            assert response.status == 504
            assert (await response.json())["error"]["code"] == "deadline_exceeded"


async def test_an_answer_that_is_not_whole_says_so_and_is_not_remembered(
    chat_app: Callable[..., Any], model: OpenAIModel, script: Script, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    script.finish_reason = "length"
    async with served(chat_app(model)) as url:
        for _ in range(2):
            answer = await ask(url, "How long is parental leave?")
            assert (answer["finish_reason"], answer["cached"]) == ("length", False)
        script.reply = lambda _: ""
        answer = await ask(url, "How long is parental leave?")
        assert (answer["answer"], answer["finish_reason"], answer["cached"]) == ("", "length", False)


async def test_many_new_questions_push_no_other_out_while_it_is_asked(
    embedder: MiniLMEmbedder, store: QdrantStore, registry: RedisRegistry, tenant: str
) -> None:
    retriever = Retriever(embedder=embedder, store=store, registry=registry, options=RetrievalOptions(3, 0.2))
    retriever._questions._vectors.update({f"q{i}": array("f", [0.0] * 384) for i in range(REMEMBERED_QUESTIONS)})
    before = [Message("user", "q1")]

    async def ask_it(question: str, history: list[Message]) -> None:
        await retriever.retrieve(question, scope=Scope(tenant), history=history)

    await asyncio.gather(ask_it("q0", before), ask_it("new", []), ask_it("newer", []))


async def test_a_conversation_is_remembered_and_its_followups_are_not_cached(
    chat_app: Callable[..., Any], model: OpenAIModel, script: Script, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    script.reply = lambda _: "It is so [1]."
    async with served(chat_app(model)) as url:
        first = await ask(url, "How long is parental leave?")
        for _ in range(2):
            follow = await ask(url, "And when do I tell the office?", conversation_id=first["conversation_id"])
            assert follow["cached"] is False
        assert follow["conversation_id"] == first["conversation_id"]
    contents = [m["content"] for m in script.requests[1]["messages"]]
    assert (question_in(contents[1]), contents[2]) == ("How long is parental leave?", "It is so [1].")


async def test_without_a_language_model_each_question_stands_alone(url: str) -> None:
    first = await ask(url, "How many weeks of parental leave are there?")
    other = await ask(url, "Who wrote Hamlet?", conversation_id=first["conversation_id"])
    assert other["mode"] == "refused"
    again = await ask(url, "How many weeks of parental leave are there?", conversation_id=first["conversation_id"])
    assert (again["mode"], again["cached"]) == ("extractive", True)


async def test_a_reader_who_leaves_ends_the_model(
    chat_app: Callable[..., Any], model: OpenAIModel, script: Script, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    script.reply = lambda _: "word " * 5000
    script.token_gap_seconds = 0.01
    async with served(chat_app(model)) as url:
        async with aiohttp.ClientSession() as session:
            response = await session.post(f"{url}/chat", json={"question": "How long is parental leave?"})
            async for event in sse_events(response):
                if event.name == "token":
                    break
            response.close()
        async with asyncio.timeout(5):
            while script.open_streams:
                await asyncio.sleep(0.01)


async def test_an_admin_compares_retrieval_settings_and_the_cache_keeps_them_apart(url: str) -> None:
    question = "How much turbine oil does the main bearing take, and how long is parental leave?"
    usual = await ask(url, question)
    assert len(usual["passages"]) == 2
    one = await ask(url, question, retrieval={"limit": 1})
    assert (len(one["passages"]), one["cached"]) == (1, False)
    assert (await ask(url, question, retrieval={"limit": 1}))["cached"]
    assert len((await ask(url, question))["passages"]) == 2
    dense = await ask(url, question, retrieval={"dense_weight": 1.0, "rerank": False})
    assert dense["passages"][0]["score"] == dense["passages"][0]["similarity"]


@pytest.mark.parametrize(
    "retrieval", [{"limit": 0}, {"limit": 21}, {"dense_weight": 0}, {"dense_weight": 1.1}, {"k": 3}]
)
async def test_retrieval_settings_out_of_bounds_are_refused(url: str, retrieval: dict[str, float]) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/chat", json={"question": "How?", "retrieval": retrieval}) as response:
            assert response.status == 400


async def test_only_admins_choose_retrieval_settings(
    chat_app: Callable[..., Any], library: Library, tenant: str, stack: AsyncExitStack
) -> None:
    await library.put("handbook.docx", Block(LEAVE))
    url = await stack.enter_async_context(served(chat_app(principal=Principal(tenant, role=Role.WRITER))))
    async with aiohttp.ClientSession() as session:
        body = {"question": "How long is parental leave?", "retrieval": {"limit": 1}}
        async with session.post(f"{url}/chat", json=body) as response:
            assert response.status == 403
            assert "for admins" in (await response.json())["error"]["message"]


async def test_an_agent_which_searches_by_itself_takes_no_retrieval_settings(
    chat_app: Callable[..., Any], model: OpenAIModel, stack: AsyncExitStack
) -> None:
    url = await stack.enter_async_context(served(chat_app(model)))
    async with aiohttp.ClientSession() as session:
        body = {"question": "How long?", "mode": "agent", "retrieval": {"limit": 1}}
        async with session.post(f"{url}/chat", json=body) as response:
            assert response.status == 400
            assert "searches by itself" in (await response.json())["error"]["message"]


async def test_a_style_reaches_the_model(
    chat_app: Callable[..., Any], library: Library, model: OpenAIModel, script: Script, stack: AsyncExitStack
) -> None:
    await library.put("handbook.docx", Block(LEAVE))
    url = await stack.enter_async_context(served(chat_app(model)))
    await ask(url, "How long is parental leave?", style="Answer like a pirate.")
    assert "Answer like a pirate." in json.dumps(script.answers()[-1]["messages"])
