"""What a chat model promises, and how the one behind OpenAI's API takes a server that fails, or does what nobody asked for."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest

from headrace.errors import ConfigurationError, HeadraceError, ModelProtocolError, ModelUnavailableError
from headrace.models.openai import OpenAIModel, open_openai_model
from headrace.protocols import ChatModel
from headrace.types import (
    Choice,
    FinishReason,
    Grammar,
    JsonSchema,
    Message,
    ModelChunk,
    ModelOptions,
    Regex,
    ToolCall,
    ToolSpec,
    Usage,
)
from tests.support.openai_server import STATUS_FAILURES, STREAM_FAILURES, Script

MESSAGES = [Message("system", "Be brief."), Message("user", "How many litres of oil?")]
CALM = ModelOptions(temperature=0.0, preferences=True)
TOOL = ToolSpec("search", "Finds documents.", {"type": "object", "properties": {"text": {"type": "string"}}})


@pytest.fixture
async def openai_model(openai_url: str, stack: AsyncExitStack) -> OpenAIModel:
    return await stack.enter_async_context(open_openai_model(api_key="k", base_url=openai_url, model="test-model"))


async def written(model: ChatModel, **more: Any) -> list[ModelChunk]:
    async with aclosing(model.stream(MESSAGES, max_tokens=100, **more)) as chunks:
        return [chunk async for chunk in chunks]


async def test_it_writes_in_pieces_and_ends_with_usage_and_finish_reason(
    openai_model: OpenAIModel, script: Script
) -> None:
    script.reply = lambda _: "It takes 18 litres of oil [1]."
    chunks = await written(openai_model)
    assert "".join(chunk.text for chunk in chunks) == "It takes 18 litres of oil [1]."
    assert sum(bool(chunk.text) for chunk in chunks) > 3
    assert [chunk.usage is not None for chunk in chunks].count(True) == 1
    assert chunks[-1].finish_reason is FinishReason.STOP


async def test_it_is_ready(openai_model: OpenAIModel) -> None:
    await openai_model.check()


async def test_what_shapes_the_text_reaches_the_server(openai_model: OpenAIModel, script: Script) -> None:
    await written(openai_model, options=ModelOptions(stop=("END",), temperature=0.0), tools=(TOOL,))
    (request,) = script.requests
    assert (request["stop"], request["temperature"]) == (["END"], 0.0)
    assert request["tools"][0]["function"]["name"] == "search"
    script.requests.clear()
    await written(openai_model)
    assert not script.requests[0].keys() & {"stop", "temperature", "tools", "response_format"}


async def test_a_tool_call_comes_in_pieces_under_its_own_finish_reason(
    openai_model: OpenAIModel, script: Script
) -> None:
    script.tool_call = ("search", '{"text": "oil"}')
    chunks = await written(openai_model, tools=(TOOL,))
    calls = [call for chunk in chunks for call in chunk.tool_calls]
    assert (calls[0].name, calls[0].index, bool(calls[0].id)) == ("search", 0, True)
    assert "".join(call.arguments for call in calls) == '{"text": "oil"}'
    assert len(calls) > 2
    assert chunks[-1].finish_reason is FinishReason.TOOL_CALLS
    turn = Message("assistant", "", tool_calls=(ToolCall(calls[0].id, "search", "{}"),))
    result = Message("tool", "18 litres", tool_call_id=calls[0].id)
    script.tool_call = None
    async with aclosing(openai_model.stream([*MESSAGES, turn, result], max_tokens=9, tools=(TOOL,))) as stream:
        assert [chunk async for chunk in stream]
    sent = script.requests[-1]["messages"]
    assert sent[-2]["tool_calls"][0]["function"] == {"name": "search", "arguments": "{}"}
    assert sent[-1]["tool_call_id"] == calls[0].id


async def test_a_tool_call_that_nobody_asked_for_is_a_fault(openai_model: OpenAIModel, script: Script) -> None:
    script.tool_call = ("search", "{}")
    with pytest.raises(ModelProtocolError, match="was given none"):
        await written(openai_model)


@pytest.mark.parametrize("reason", ["tool_calls", "function_call", "eos", "refused"])
async def test_a_finish_reason_that_nobody_asked_for_is_a_fault_and_never_a_stop(
    openai_model: OpenAIModel, script: Script, reason: str
) -> None:
    script.finish_reason = reason
    with pytest.raises(ModelProtocolError, match=reason):
        await written(openai_model)


async def test_a_choice_is_one_of_its_options_and_nothing_else(openai_model: OpenAIModel, script: Script) -> None:
    options = Choice(("A", "none"))
    script.choose = lambda _: "A"
    chunks = await written(openai_model, constraint=options)
    assert [chunk.text for chunk in chunks if chunk.text] == ["A"]
    schema = script.requests[0]["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["properties"]["choice"]["enum"] == ["A", "none"]
    script.choose = lambda _: "B"
    with pytest.raises(ModelProtocolError, match="A, none"):
        await written(openai_model, constraint=options)


async def test_a_server_without_schemas_is_asked_once_and_believed_only_within_the_options(
    openai_model: OpenAIModel, script: Script
) -> None:
    script.refused_fields = {"response_format", "temperature"}
    script.reply = lambda _: " none.\n"
    for _ in range(2):
        chunks = await written(openai_model, constraint=Choice(("A", "none")), options=CALM)
        assert [chunk.text for chunk in chunks if chunk.text] == ["none"]
    refused = [request.keys() & script.refused_fields for request in script.requests]
    assert [len(names) for names in refused] == [2, 1, 0, 0], "each field was refused once, by name"
    script.reply = lambda _: "I would say none."
    with pytest.raises(ModelProtocolError):
        await written(openai_model, constraint=Choice(("A", "none")))


async def test_the_usage_is_the_servers(openai_model: OpenAIModel) -> None:
    usage = (await written(openai_model))[-1].usage
    assert usage == Usage(prompt_tokens=7, completion_tokens=5)


@pytest.mark.parametrize("failure", STREAM_FAILURES)
async def test_a_stream_that_breaks_off_is_never_taken_for_an_answer(
    openai_model: OpenAIModel, script: Script, failure: str
) -> None:
    script.fail = [failure]
    with pytest.raises(ModelUnavailableError, match="test-model"):
        await written(openai_model)


@pytest.mark.parametrize("failure", STATUS_FAILURES)
async def test_a_refusal_says_what_to_do(openai_model: OpenAIModel, script: Script, failure: str) -> None:
    script.fail = [failure] * 3
    with pytest.raises(HeadraceError) as raised:
        await written(openai_model)
    permanent = failure in {"unauthorized", "not_found"}
    assert isinstance(raised.value, ConfigurationError if permanent else ModelUnavailableError)
    assert "Check" in str(raised.value) or "Try again" in str(raised.value)


async def test_a_passing_failure_is_tried_again(openai_model: OpenAIModel, script: Script) -> None:
    script.fail = ["rate_limited"]
    assert (await written(openai_model))[-1].usage
    assert len(script.requests) == 2


async def test_the_key_never_shows_in_a_fault(openai_url: str, script: Script) -> None:
    script.api_key = "right"
    async with open_openai_model(api_key="sk-secret-wrong", base_url=openai_url, model="m") as model:
        with pytest.raises(ConfigurationError, match="OPENAI_API_KEY") as raised:
            await model.check()
    assert "sk-secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("provider", "right", "wrong"),
    [("openai", "max_tokens", "max_completion_tokens"), ("vllm", "max_completion_tokens", "max_tokens")],
)
async def test_another_name_of_the_token_limit_is_learnt_once(
    openai_url: str, script: Script, provider: str, right: str, wrong: str
) -> None:
    script.token_limit_field = right
    async with open_openai_model(api_key="k", base_url=openai_url, model="test-model", provider=provider) as model:
        await written(model)
        await written(model)
    assert [wrong in request for request in script.requests] == [True, False, False]
    assert [right in request for request in script.requests] == [False, True, True]


async def test_leaving_the_stream_ends_the_upstream(openai_model: OpenAIModel, script: Script) -> None:
    script.reply = lambda _: "word " * 1000
    script.token_gap_seconds = 0.01
    async with aclosing(openai_model.stream(MESSAGES, max_tokens=2000)) as chunks:
        await anext(chunks)
        assert script.open_streams == 1
    async with asyncio.timeout(5):
        while script.open_streams:
            await asyncio.sleep(0.01)


LEAVE = JsonSchema(
    "leave",
    {"type": "object", "properties": {"weeks": {"type": "integer"}}, "required": ["weeks"], "additionalProperties": False},
)  # fmt: skip


async def test_what_a_server_is_known_to_enforce_streams_and_the_rest_comes_when_it_is_checked(
    openai_url: str, openai_model: OpenAIModel, script: Script
) -> None:
    script.constrained = '{"weeks": 26}'
    async with open_openai_model(api_key="k", base_url=openai_url, model="m", provider="vllm") as enforcing:
        for model, pieces in ((enforcing, 2), (openai_model, 1)):
            chunks = await written(model, constraint=LEAVE)
            texts = [chunk.text for chunk in chunks if chunk.text]
            assert ("".join(texts), len(texts)) == ('{"weeks": 26}', pieces)
            assert chunks[-1].enforced is (model is enforcing)
        script.constrained = '{"weeks": "many"}'
        with pytest.raises(ModelProtocolError, match="weeks"):
            await written(enforcing, constraint=LEAVE)


async def test_what_is_of_the_wrong_form_is_asked_for_once_more_with_the_reason(
    openai_model: OpenAIModel, script: Script
) -> None:
    said = ['Sure! ```json\n{"weeks": "many"}\n```', '```json\n{"weeks": 26}\n```']
    script.refused_fields, script.reply = {"response_format"}, lambda _: said.pop(0)
    chunks = await written(openai_model, constraint=LEAVE)
    assert "".join(chunk.text for chunk in chunks) == '{"weeks": 26}'
    asked = script.requests[-1]["messages"]
    assert "weeks" in asked[-1]["content"]
    assert asked[-2] == {"role": "assistant", "content": 'Sure! ```json\n{"weeks": "many"}\n```'}
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.prompt_tokens > 14, "both calls are paid for"
    script.reply = lambda _: "I can't do that."
    before = len(script.requests)
    with pytest.raises(ModelProtocolError, match="not valid JSON"):
        await written(openai_model, constraint=LEAVE)
    assert len(script.requests) - before == 2


async def test_expressions_and_grammars_are_checked_whatever_the_server_says(openai_url: str, script: Script) -> None:
    grammar = Grammar('start: "yes " /[0-9]+/')
    async with open_openai_model(api_key="k", base_url=openai_url, model="m", provider="vllm") as model:
        script.constrained = '{"text": "627-ab"}'
        assert "".join(c.text for c in await written(model, constraint=Regex("[0-9]+-[a-z]+"))) == "627-ab"
        pattern = script.requests[-1]["response_format"]["json_schema"]["schema"]["properties"]["text"]["pattern"]
        assert pattern == "^(?:[0-9]+-[a-z]+)$"
        script.reply = lambda _: "yes 12"
        assert "".join(c.text for c in await written(model, constraint=grammar)) == "yes 12"
        assert script.requests[-1]["structured_outputs"] == {"grammar": grammar.text}
        script.reply = lambda _: "yes, 12"
        with pytest.raises(ModelProtocolError, match="byte 3"):
            await written(model, constraint=grammar)


async def test_what_is_cut_off_by_the_limit_says_so(openai_model: OpenAIModel, script: Script) -> None:
    script.constrained, script.finish_reason = '{"weeks": 2', "length"
    chunks = await written(openai_model, constraint=LEAVE)
    assert "".join(chunk.text for chunk in chunks) == '{"weeks": 2'
    assert chunks[-1].finish_reason is FinishReason.LENGTH
