"""Every parameter of OpenAI's published schemas is honoured, named as unused, or refused: none is ignored in silence."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import openai
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from openai.types.embedding_create_params import EmbeddingCreateParams
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from openai.types.responses.response_text_config_param import ResponseTextConfigParam
from openai.types.shared_params.reasoning import Reasoning as ReasoningParam
from pydantic import BaseModel

from functions.chat.wire import parameters
from functions.chat.wire.openai_bodies import CompletionBody, EmbeddingBody, Reasoning, ResponseBody, ResponseText
from functions.chat.wire.parameters import Parameters
from headrace.models.openai import OpenAIModel, open_openai_model
from infra.local.processes import ROOT
from tests.support.http import served
from tests.support.library import Library
from tests.support.openai_server import Script

LEAVE = "Parents may take 26 weeks of parental leave."
ASKED = "How long is parental leave?"
OURS = {"filter", "citations", "structured_outputs"}
ROUTES: dict[str, tuple[type, type[BaseModel], Parameters]] = {
    "/v1/chat/completions": (CompletionCreateParamsStreaming, CompletionBody, parameters.CHAT),
    "/v1/responses": (ResponseCreateParamsStreaming, ResponseBody, parameters.RESPONSES),
    "/v1/embeddings": (EmbeddingCreateParams, EmbeddingBody, parameters.EMBEDDINGS),
    "reasoning": (ReasoningParam, Reasoning, parameters.REASONING),
    "text": (ResponseTextConfigParam, ResponseText, parameters.RESPONSE_TEXT),
}


@pytest.fixture
async def model(openai_url: str, stack: AsyncExitStack) -> OpenAIModel:
    return await stack.enter_async_context(open_openai_model(api_key="k", base_url=openai_url, model="m"))


@pytest.fixture
async def url(chat_app: Callable[..., Any], model: OpenAIModel, library: Library, stack: AsyncExitStack) -> str:
    await library.put("handbook.docx", LEAVE)
    return await stack.enter_async_context(served(chat_app(model)))


@pytest.mark.parametrize("route", ROUTES)
def test_every_published_parameter_is_in_one_class(route: str) -> None:
    published, body, others = ROUTES[route]
    names = set(typing.get_type_hints(published))
    honoured = set(body.model_fields) - OURS
    assert honoured <= names, "no parameter is honoured that is not published"
    classes = (honoured, set(others.unused), set(others.refused))
    assert names == set().union(*classes)
    assert sum(map(len, classes)) == len(names), "none is in two classes"


def test_the_docs_list_every_parameter_under_its_class() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    for route in ("/v1/chat/completions", "/v1/responses"):
        _, body, others = ROUTES[route]
        table = text.split(f"<!-- parameters of {route} -->")[1].split("<!-- end -->")[0]
        rows = {
            line.split("|")[1].strip(): set(re.findall(r"`(\w+)`", line.split("|")[2]))
            for line in table.splitlines()
            if "|" in line
        }
        assert rows["honoured"] == set(body.model_fields), route
        assert rows["unused"] == others.unused, route
        assert rows["refused"] == set(others.refused), route


async def posted(url: str, route: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:

    async with aiohttp.ClientSession() as session, session.post(f"{url}{route}", json=body) as response:
        return response.status, await response.json()


def asking(route: str) -> dict[str, Any]:
    asked = {"messages": [{"role": "user", "content": ASKED}]} if "chat" in route else {"input": ASKED}
    return {"model": "headrace", **asked}


WANTED: Any = {
    "audio": {"voice": "alloy", "format": "mp3"}, "background": True, "context_management": [{"type": "compaction"}],
    "conversation": "conv_1", "function_call": {"name": "f"}, "functions": [{"name": "f"}], "image": {"model": "x"},
    "include": ["message.output_text.logprobs"], "logit_bias": {"50256": -100}, "logprobs": True,
    "modalities": ["text", "audio"], "moderation": {"policy": "x"}, "n": 2, "prompt": {"id": "p"},
    "tool_choice": "required",
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}], "top_logprobs": 3,
    "web_search_options": {},
}  # fmt: skip


@pytest.mark.parametrize("route", ["/v1/chat/completions", "/v1/responses"])
async def test_what_is_refused_says_so_and_what_asks_for_nothing_is_not(url: str, route: str) -> None:
    others = ROUTES[route][2]
    for name, refusal in others.refused.items():
        status, said = await posted(url, route, {**asking(route), name: WANTED[name]})
        assert (status, said["error"]["code"], said["error"]["param"]) == (400, "unsupported_parameter", name)
        for neutral in (*refusal.neutral, None):
            status, said = await posted(url, route, {**asking(route), name: neutral})
            assert status == 200, (name, neutral, said)
    status, said = await posted(url, route, {**asking(route), "temprature": 0.5})
    assert (status, said["error"]["param"]) == (400, "temprature")


@pytest.mark.parametrize("route", ["/v1/chat/completions", "/v1/responses"])
async def test_what_is_unused_is_named(url: str, route: str) -> None:
    others = ROUTES[route][2]
    status, said = await posted(url, route, {**asking(route), **dict.fromkeys(others.unused - {"stream_options"}, "x")})
    assert status == 200
    assert set(said["headrace"]["unused"]) == others.unused - {"stream_options"}


async def test_what_is_honoured_of_a_chat_reaches_the_model(url: str, script: Script) -> None:
    sampling = {
        "temperature": 0.3, "top_p": 0.9, "seed": 7, "frequency_penalty": 0.5, "presence_penalty": -0.5,
        "reasoning_effort": "low", "verbosity": "high",
    }  # fmt: skip
    messages: Any = [{"role": "system", "content": "Answer like a pirate."}, {"role": "user", "content": ASKED}]
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any") as client:
        await client.chat.completions.create(model="headrace", messages=messages, max_tokens=20, stop="END", **sampling)  # type: ignore[call-overload]
        await client.chat.completions.create(
            model="headrace", messages=messages, max_completion_tokens=21, stop=["A", "B"]
        )
        await client.chat.completions.create(model="headrace", messages=messages, max_tokens=10_000)
    first, second, third = script.answers()
    assert {name: first[name] for name in sampling} == sampling
    assert (first["max_tokens"], first["stop"]) == (20, ["END"])
    assert (second["max_tokens"], second["stop"]) == (21, ["A", "B"])
    assert third["max_tokens"] == 100, "the deployment's limit holds"
    assert not second.keys() & sampling.keys()
    rules = first["messages"][0]["content"]
    assert "Answer like a pirate." in rules
    assert rules.index("cite the passages") < rules.index("pirate"), "it stands after the rules, within a frame"


async def test_what_is_honoured_of_a_response_reaches_the_model(url: str, script: Script) -> None:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any") as client:
        made = await client.responses.create(
            model="headrace", input=ASKED, instructions="Answer like a pirate.", max_output_tokens=20, temperature=0.3,
            top_p=0.9, reasoning={"effort": "low"}, text={"verbosity": "high"}, metadata={"a": "b"}, store=False,
        )  # fmt: skip
    (request,) = script.answers()
    assert (request["temperature"], request["top_p"], request["max_tokens"]) == (0.3, 0.9, 20)
    assert (request["reasoning_effort"], request["verbosity"]) == ("low", "high")
    assert "pirate" in request["messages"][0]["content"]
    assert (made.metadata, made.instructions, made.temperature) == ({"a": "b"}, "Answer like a pirate.", 0.3)
    refused = {**asking("/v1/responses"), "reasoning": {"summary": "auto"}}
    status, said = await posted(url, "/v1/responses", refused)
    assert (status, said["error"]["code"]) == (400, "unsupported_parameter")


async def test_what_shapes_an_answer_is_not_shared_with_who_wants_another_shape(url: str, script: Script) -> None:
    bodies: list[dict[str, Any]] = [{}, {"temperature": 0.3}, {"seed": 1}, {"max_tokens": 9}, {"stop": "x"}]
    styled = {"messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": ASKED}]}
    for body in (*bodies, styled):
        for cached in (False, True):
            _, said = await posted(url, "/v1/chat/completions", {**asking("/v1/chat/completions"), **body})
            # A seed asks for an answer of its own.
            assert said["headrace"]["cached"] is (cached and "seed" not in body), body
    assert len(script.answers()) == len(bodies) + 2
    status, told = await posted(url, "/feedback", {"answer_id": said["headrace"]["answer_id"], "verdict": "wrong"})
    assert (status, told["invalidated"]) == (200, True), "an answer of any shape can be taken out"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"temperature": "x"}, "temperature"), ({"temperature": 3}, "temperature"), ({"max_tokens": 0}, "max_tokens"),
        ({"top_p": -1}, "top_p"), ({"stop": ["a"] * 5}, "stop"), ({"stop": ""}, "stop"), ({"n": True}, "n"),
        ({"citations": "everywhere"}, "citations"), ({"stream_options": {"x": 1}}, "stream_options"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]}, "messages"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}, {"role": "user", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "system", "content": "x" * 20_001}, {"role": "user", "content": "x"}]}, "messages"),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_a_clear_400(url: str, body: dict[str, Any], param: str) -> None:
    status, said = await posted(url, "/v1/chat/completions", {**asking("/v1/chat/completions"), **body})
    assert (status, str(said["error"]["param"]).split(".")[0]) == (400, param), said
    assert "\n" not in said["error"]["message"]


async def test_a_parameter_that_the_model_refuses_is_a_400_that_names_it(url: str, script: Script) -> None:
    script.refused_fields = {"seed"}
    for stream in (False, True):
        body = {**asking("/v1/chat/completions"), "seed": 1, "stream": stream}
        status, said = await posted(url, "/v1/chat/completions", body)
        assert (status, said["error"]["code"], said["error"]["param"]) == (400, "unsupported_parameter", "seed")


async def test_a_model_that_is_not_there_is_a_404(url: str) -> None:
    for route in ("/v1/chat/completions", "/v1/responses"):
        status, said = await posted(url, route, {**asking(route), "model": "gpt-9"})
        assert (status, said["error"]["code"], said["error"]["param"]) == (404, "model_not_found", "model")
        assert "headrace-extractive" in said["error"]["message"]
        status, said = await posted(url, route, {**asking(route), "model": "headrace-extractive"})
        assert (status, said["headrace"]["mode"]) == (200, "extractive")


async def test_without_a_model_the_limits_are_kept_here(
    chat_app: Callable[..., Any], library: Library, stack: AsyncExitStack
) -> None:
    await library.put("handbook.docx", LEAVE)
    url = await stack.enter_async_context(served(chat_app()))
    route = "/v1/chat/completions"
    for more, text, reason in (
        ({"max_tokens": 3}, "“Parents may ", "length"), ({"stop": " weeks"}, "“Parents may take 26", "stop"),
        ({"stop": ["no such thing", "26"]}, "“Parents may take ", "stop"), ({"max_tokens": 100}, f"“{LEAVE}” [1]", "stop"),
    ):  # fmt: skip
        _, said = await posted(url, route, {**asking(route), **more})
        choice = said["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == (text, reason)
    styled = [{"role": "system", "content": "Answer in rhyme."}, {"role": "user", "content": ASKED}]
    _, said = await posted(url, route, {**asking(route), "messages": styled})
    assert "no effect" in said["headrace"]["notice"]


async def test_what_stands_beside_the_parameters_is_named_too(url: str) -> None:
    message = {"role": "user", "content": ASKED, "name": "Ann", "nmae": "x", "audio": None}
    body: dict[str, Any] = {
        "model": "headrace", "messages": [message], "max_tokens": 50, "max_completion_tokens": 60, "filter": None,
        "stream_options": {"include_obfuscation": False},
    }  # fmt: skip
    status, said = await posted(url, "/v1/chat/completions", body)
    assert status == 200
    assert said["headrace"]["unused"] == [
        "messages[].name", "messages[].nmae", "max_tokens", "stream_options", "stream_options.include_obfuscation",
    ]  # fmt: skip
    status, said = await posted(url, "/v1/embeddings", {"model": "all-MiniLM-L6-v2", "input": "x", "user": "ann"})
    assert (status, said["headrace"]["unused"]) == (200, ["user"])


@pytest.mark.parametrize(
    ("route", "body", "param"),
    [
        ("/v1/responses", {"metadata": {"a": 1}}, "metadata.a"), ("/v1/responses", {"input": []}, "input"),
        ("/v1/responses", {"metadata": {str(number): "x" for number in range(17)}}, "metadata"),
        ("/v1/chat/completions", {"stop": ["a"] * 5}, "stop"), ("/v1/chat/completions", {"temperature": []}, "temperature"),
        ("/v1/embeddings", {"model": "all-MiniLM-L6-v2", "input": ["x" * 8_000] * 13}, "input"),
    ],
)  # fmt: skip
async def test_a_fault_names_its_parameter(url: str, route: str, body: dict[str, Any], param: str) -> None:
    asked = {} if "embeddings" in route else asking(route)
    status, said = await posted(url, route, {**asked, **body})
    assert (status, said["error"]["param"]) == (400, param), said
