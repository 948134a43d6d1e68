"""What every chat model promises, and how the one behind OpenAI's API takes a failing server."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing

import pytest

from headrace.errors import ConfigurationError, HeadraceError, ModelUnavailableError
from headrace.models.extractive import ExtractiveModel
from headrace.models.openai import OpenAIModel, open_openai_model
from headrace.protocols import ChatModel
from headrace.types import ChatRequest, Chunk, Message, ModelChunk, Passage, Usage
from tests.support.openai_server import STATUS_FAILURES, STREAM_FAILURES, Script

TEXT = "The pump is red. It takes 18 litres of oil. Oil is changed every two years."
REQUEST = ChatRequest(
    "How many litres of oil does the pump take?",
    [Passage(Chunk("documents/manual.txt", 1, 0, TEXT), 0.6)],
    [Message("system", "Be brief."), Message("user", "How many litres of oil?")],
    max_tokens=100,
)


@pytest.fixture
async def openai_model(openai_url: str, stack: AsyncExitStack) -> OpenAIModel:
    return await stack.enter_async_context(open_openai_model(api_key="k", base_url=openai_url, model="test-model"))


@pytest.fixture(params=["extractive", "openai"])
def any_model(request: pytest.FixtureRequest, openai_model: OpenAIModel, script: Script) -> ChatModel:
    script.reply = lambda _: "It takes 18 litres of oil [1]."
    models: dict[str, ChatModel] = {"extractive": ExtractiveModel(), "openai": openai_model}
    return models[request.param]


async def written(model: ChatModel) -> list[ModelChunk]:
    async with aclosing(model.stream(REQUEST)) as chunks:
        return [chunk async for chunk in chunks]


async def test_it_writes_in_pieces_cites_its_passage_and_ends_with_the_usage(any_model: ChatModel) -> None:
    chunks = await written(any_model)
    text = "".join(chunk.text for chunk in chunks)
    assert "18 litres of oil" in text
    assert "[1]" in text
    assert sum(bool(chunk.text) for chunk in chunks) > 3
    assert [chunk.usage is not None for chunk in chunks].count(True) == 1
    assert chunks[-1].usage is not None


async def test_it_is_ready(any_model: ChatModel) -> None:
    await any_model.check()


async def test_the_extractive_model_quotes_word_for_word() -> None:
    text = "".join(chunk.text for chunk in await written(ExtractiveModel()))
    quotes = text.split("“")[1:]
    assert quotes
    assert all(quote.split("”")[0] in TEXT for quote in quotes)


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


async def test_an_older_name_of_the_token_limit_is_learnt_once(openai_model: OpenAIModel, script: Script) -> None:
    script.token_limit_field = "max_tokens"
    await written(openai_model)
    await written(openai_model)
    assert ["max_tokens" in request for request in script.requests] == [False, True, True]


async def test_leaving_the_stream_ends_the_upstream(openai_model: OpenAIModel, script: Script) -> None:
    script.reply = lambda _: "word " * 1000
    script.token_gap_seconds = 0.01
    async with aclosing(openai_model.stream(REQUEST)) as chunks:
        await anext(chunks)
        assert script.open_streams == 1
    async with asyncio.timeout(5):
        while script.open_streams:
            await asyncio.sleep(0.01)
