"""Whatever a language model's server does wrong, each route ends in what its documentation says, and keeps no part of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from starlette.requests import ClientDisconnect

from functions.chat import responses
from functions.chat.responses import EventResponse
from functions.chat.wire import sse
from headrace.clients.dialects import dialect_of
from headrace.clients.openai import open_openai
from headrace.errors import ConfigurationError, ModelProtocolError, RefusedError, UnsupportedParameterError
from headrace.models.fallback import FallbackModel
from headrace.models.openai import OpenAIModel, open_openai_model
from headrace.types import AnswerEvent, Choice, Message, ModelOptions, TokenEvent
from tests.support.faults import silent
from tests.support.http import served
from tests.support.library import Library
from tests.support.openai_server import (
    EARLY_FAILURES,
    SILENT_FAILURES,
    STATUS_FAILURES,
    STREAM_FAILURES,
    Script,
    openai_app,
)

LEAVE = "Parents may take 26 weeks of parental leave."
ASKED = "How long is parental leave?"
REPLY = "It is twenty six weeks of parental leave [1]."
ROUTES = ("/chat", "/v1/chat/completions", "/v1/responses")
IDLE_SECONDS = 0.4
CONFIGURATION = {"unauthorized", "not_found"}
# What ends an answer before its first word has a status code, in a stream too; the rest is said in the stream.
LATE = {*STREAM_FAILURES, "odd_reason"}


@pytest.fixture
async def model(openai_url: str, stack: AsyncExitStack) -> OpenAIModel:
    opening = open_openai_model(
        api_key="k", base_url=openai_url, model="m", idle_timeout_seconds=IDLE_SECONDS, retries=0
    )
    return await stack.enter_async_context(opening)


@pytest.fixture
async def url(
    chat_app: Callable[..., Any],
    model: OpenAIModel,
    library: Library,
    stack: AsyncExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    # A machine that is busy gets to a fault late; its status code is held for it all the same.
    monkeypatch.setattr(responses, "HOLD_SECONDS", 20.0)
    await library.put("handbook.docx", LEAVE)
    return await stack.enter_async_context(served(chat_app(model)))


def request(route: str, question: str = ASKED, *, streamed: bool) -> dict[str, Any]:
    """What aiohttp posts to ask the question on this route."""
    if route == "/chat":
        accept = "text/event-stream" if streamed else "application/json"
        return {"json": {"question": question}, "headers": {"accept": accept}}
    asked: dict[str, Any] = (
        {"messages": [{"role": "user", "content": question}]} if "chat" in route else {"input": question}
    )
    return {"json": {"model": "headrace", "stream": streamed, **asked}}


@asynccontextmanager
async def asked(
    url: str, route: str, question: str = ASKED, *, streamed: bool
) -> AsyncIterator[aiohttp.ClientResponse]:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}{route}", **request(route, question, streamed=streamed)) as response:
            yield response


async def data_of(response: aiohttp.ClientResponse) -> list[dict[str, Any]]:
    """The JSON values of a stream's events."""
    lines = (await response.text()).splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ") and line != "data: [DONE]"]


def fault_in(events: list[dict[str, Any]], route: str) -> dict[str, Any]:
    """The fault that ends a stream; the stream has no other end."""
    ends = [e for e in events if e.get("finish_reason") or e.get("type") == "response.completed"]
    ends += [e for e in events if any(choice["finish_reason"] for choice in e.get("choices", ()))]
    assert not ends
    if route == "/chat":
        return events[-1]
    if route == "/v1/responses":
        assert events[-1]["type"] == "response.failed"
        assert events[-1]["response"]["error"]["message"] == events[-2]["message"]
        return events[-2]
    fault: dict[str, Any] = events[-1]["error"]
    return fault


@pytest.mark.parametrize(
    "failure", [*STATUS_FAILURES, *EARLY_FAILURES, *SILENT_FAILURES, *STREAM_FAILURES, "odd_reason"]
)
async def test_a_model_that_fails_is_a_fault_that_says_so(url: str, script: Script, failure: str) -> None:
    script.reply = lambda _: REPLY
    for route in ROUTES:
        for streamed in (True, False):
            question = f"{ASKED} {route} {streamed}"
            script.fail, script.finish_reason = [failure], "stop"
            if failure == "odd_reason":
                script.fail, script.finish_reason = [], "because"
            async with asyncio.timeout(20), asked(url, route, question, streamed=streamed) as response:
                await _check_fault(response, route, failure, is_late=streamed and failure in LATE)
            script.fail, script.finish_reason = [], "stop"
            async with asked(url, "/chat", question, streamed=False) as response:
                assert response.status == 200, await response.text()
                again = await response.json()
            assert (again["cached"], again["answer"]) == (False, REPLY), "no part of it was kept"


async def _check_fault(response: aiohttp.ClientResponse, route: str, failure: str, *, is_late: bool) -> None:
    if is_late:
        assert response.status == 200
        fault = fault_in(await data_of(response), route)
    else:
        assert response.status == (500 if failure in CONFIGURATION else 503)
        fault = (await response.json())["error"]
        assert ("Retry-After" in response.headers) is (response.status == 503)
    codes = {"odd_reason": "model_protocol_error", **dict.fromkeys(CONFIGURATION, "configuration_error")}
    assert fault["code"] == codes.get(failure, "model_unavailable")
    assert "'m'" in fault["message"]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("when", ["before its first word", "in the middle"])
async def test_a_client_that_leaves_stops_the_model(
    url: str, script: Script, route: str, streamed: bool, when: str
) -> None:
    script.reply = lambda _: "word " * 500
    script.first_token_seconds = 30.0 if when == "before its first word" else 0.0
    script.token_gap_seconds = 0.05
    async with aiohttp.ClientSession() as session:
        posting = asyncio.create_task(_read(session, url, route, streamed=streamed))
        async with asyncio.timeout(5):
            while not script.open_streams:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        posting.cancel()
        await asyncio.wait({posting})
    async with asyncio.timeout(10):
        while script.open_streams:
            await asyncio.sleep(0.01)


async def _read(session: aiohttp.ClientSession, url: str, route: str, *, streamed: bool) -> None:
    async with session.post(f"{url}{route}", **request(route, streamed=streamed)) as response:
        await response.read()


@pytest.mark.parametrize("route", ROUTES)
async def test_a_slow_model_is_waited_for_in_the_stream(url: str, script: Script, route: str) -> None:
    script.reply, script.first_token_seconds = lambda _: REPLY, 0.3
    async with asked(url, route, streamed=True) as response:
        assert response.status == 200
        assert "twenty" in await response.text()


async def test_the_next_model_writes_when_one_does_not_begin(
    chat_app: Callable[..., Any], model: OpenAIModel, script: Script, library: Library, stack: AsyncExitStack
) -> None:
    await library.put("handbook.docx", LEAVE)
    spare = Script(reply=lambda _: "The spare says 26 weeks [1].")
    script.reply = lambda _: REPLY
    spare_url = await stack.enter_async_context(served(openai_app(spare)))
    other = await stack.enter_async_context(
        open_openai_model(api_key="spare-key", base_url=f"{spare_url}/v1", model="spare")
    )
    now = 0.0
    both = FallbackModel([model, other], clock=lambda: now)
    url = await stack.enter_async_context(served(chat_app(both)))

    async def answer() -> dict[str, Any]:
        async with asked(url, "/chat", streamed=False) as response:
            said: dict[str, Any] = await response.json()
            return said

    script.fail = ["overloaded"]
    said = await answer()
    assert (said["answer"], said["model"], said["fallback"]) == ("The spare says 26 weeks [1].", "spare", True)
    tries = len(script.requests)
    said = await answer()
    assert (said["fallback"], said["cached"], len(script.requests)) == (True, False, tries), (
        "it is left alone for a while"
    )
    now = 100.0
    said = await answer()
    assert (said["answer"], said["model"], said["fallback"]) == (REPLY, "m", False)
    assert (await answer())["cached"] is True, "only the configured model's answers are kept"


@pytest.mark.parametrize("failure", ["cut", "garbage"])
async def test_a_model_that_has_begun_is_not_replaced(
    chat_app: Callable[..., Any],
    library: Library,
    model: OpenAIModel,
    script: Script,
    stack: AsyncExitStack,
    failure: str,
) -> None:
    await library.put("handbook.docx", LEAVE)
    script.reply, script.fail = lambda _: REPLY, [failure]
    url = await stack.enter_async_context(served(chat_app(FallbackModel([model, model]))))
    async with asked(url, "/chat", streamed=True) as response:
        assert (await data_of(response))[-1]["code"] == "model_unavailable"
    assert len(script.requests) == 1


async def test_what_a_model_refuses_for_what_it_says_is_not_asked_of_another(
    chat_app: Callable[..., Any], library: Library, model: OpenAIModel, script: Script, stack: AsyncExitStack
) -> None:
    await library.put("handbook.docx", LEAVE)
    script.refused_fields = {"messages"}
    url = await stack.enter_async_context(served(chat_app(FallbackModel([model, model]))))
    async with asked(url, "/chat", streamed=False) as response:
        said = (await response.json())["error"]
        assert (response.status, said["code"]) == (400, "refused")
        assert "messages" not in said["message"], "what the server says is for its owner"
    assert len(script.requests) == 1


async def test_several_models_are_ready_when_one_is(openai_url: str, stack: AsyncExitStack) -> None:
    here, nowhere = [
        await stack.enter_async_context(open_openai_model(api_key="k", base_url=url, model="m"))
        for url in (openai_url, "http://127.0.0.1:9/v1")
    ]
    await FallbackModel([nowhere, here]).check()
    with pytest.raises(Exception, match="does not answer"):
        await FallbackModel([nowhere]).check()


async def test_whether_a_model_is_ready_does_not_hang_on_a_list_of_models(openai_url: str, script: Script) -> None:
    script.lists_models = False
    async with open_openai_model(api_key="k", base_url=openai_url, model="other", provider="vllm") as model:
        await model.check()
        script.lists_models = True
        with pytest.raises(ConfigurationError, match="test-model"):
            await model.check()
    async with open_openai_model(api_key="k", base_url=openai_url, model="other", provider="litellm") as model:
        await model.check()


async def test_a_model_that_says_nothing_at_all_is_given_up_in_its_time(
    chat_app: Callable[..., Any], library: Library, stack: AsyncExitStack
) -> None:
    await library.put("handbook.docx", LEAVE)
    async with silent() as nobody:
        base_url = nobody.replace("redis://", "http://").removesuffix("/0") + "/v1"
        opening = open_openai_model(api_key="k", base_url=base_url, model="m", idle_timeout_seconds=IDLE_SECONDS)
        model = await stack.enter_async_context(opening)
        url = await stack.enter_async_context(served(chat_app(model)))
        async with asyncio.timeout(10), asked(url, "/chat", streamed=False) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (503, "model_unavailable")


async def test_the_same_model_elsewhere_is_a_fallback_all_the_same(
    chat_app: Callable[..., Any], model: OpenAIModel, script: Script, library: Library, stack: AsyncExitStack
) -> None:
    await library.put("handbook.docx", LEAVE)
    script.reply, script.fail = lambda _: REPLY, ["overloaded"]
    url = await stack.enter_async_context(served(chat_app(FallbackModel([model, model]))))
    for _ in range(2):
        async with asked(url, "/chat", streamed=False) as response:
            said = await response.json()
        assert (said["answer"], said["fallback"], said["cached"]) == (REPLY, True, False)


async def test_a_model_that_answers_what_it_was_not_asked_is_not_left_alone(model: OpenAIModel, script: Script) -> None:
    both = FallbackModel([model, model])
    script.choose = lambda _: "nonsense"
    with pytest.raises(ModelProtocolError):
        _ = [chunk async for chunk in both.stream([Message("user", "x")], max_tokens=9, constraint=Choice(("A", "B")))]
    chunks = [chunk async for chunk in both.stream([Message("user", "x")], max_tokens=9)]
    assert not chunks[-1].fallback


async def test_a_refusal_of_a_long_prompt_teaches_no_other_name_of_the_limit(
    model: OpenAIModel, script: Script
) -> None:
    script.refusal = (
        "This model's maximum context is 4096 tokens: prompt (5000) + max_tokens (100) are more. Generation stopped."
    )
    for options in (ModelOptions(), ModelOptions(stop=("x",))):
        with pytest.raises(RefusedError):
            _ = [chunk async for chunk in model.stream([Message("user", "x")], max_tokens=9, options=options)]
    script.refusal = ""
    _ = [chunk async for chunk in model.stream([Message("user", "x")], max_tokens=9)]
    assert "max_tokens" in script.requests[-1]
    script.refusal, script.refusal_status = "reasoning_effort: input should be low or high", 422
    options = ModelOptions(reasoning_effort="huge")
    with pytest.raises(UnsupportedParameterError, match="reasoning_effort"):
        _ = [chunk async for chunk in model.stream([Message("user", "x")], max_tokens=9, options=options)]


async def test_a_key_goes_to_its_own_server_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://gpu.internal:8000/v1")
    async with open_openai(api_key="sk-real", base_url="", dialect=dialect_of("auto", "")) as openai:
        assert openai.base_url == "https://api.openai.com/v1"


async def test_a_response_that_never_begins_ends_its_stream() -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncGenerator[AnswerEvent, None]:
        try:
            while True:
                yield TokenEvent("x")
                await asyncio.sleep(0)
        finally:
            ended.set()

    stream = sse.EventStream(endless(), write=lambda _: b"x", write_error=lambda _: b"", deadline_seconds=30)
    await stream.begin(hold_seconds=1)

    async def gone(message: Any) -> None:
        raise OSError

    with pytest.raises(ClientDisconnect):
        await EventResponse(stream, {})({"type": "http", "asgi": {"spec_version": "2.4"}}, asyncio.Event().wait, gone)  # type: ignore[arg-type]
    assert ended.is_set()
