"""The OpenAI-compatible API, used with the official SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import openai
import pytest

from headrace.models.openai import OpenAIModel, open_openai_model
from tests.support.http import served
from tests.support.library import Library
from tests.support.openai_server import Script

LEAVE = "Parents may take 26 weeks of parental leave."
QUESTION: Any = [{"role": "user", "content": "How many weeks of parental leave are there?"}]


@pytest.fixture
async def url(chat_app: Callable[..., Any], library: Library, stack: AsyncExitStack) -> str:
    await library.put("handbook.docx", LEAVE)
    return f"{await stack.enter_async_context(served(chat_app()))}/v1"


def check(answer: Any) -> None:
    assert "26 weeks" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    (citation,) = answer.model_extra["citations"]
    assert citation["name"] == "handbook.docx"
    assert citation["quote"] == LEAVE
    assert answer.model_extra["headrace"]["mode"] == "extractive"
    assert answer.usage.total_tokens == 0


async def test_the_async_sdk_asks_and_streams(url: str) -> None:
    async with openai.AsyncOpenAI(base_url=url, api_key="any") as client:
        default, model, embedding = [model.id async for model in client.models.list()]
        assert (default, model, embedding) == ("headrace", "headrace-extractive", "all-MiniLM-L6-v2")
        assert (await client.models.retrieve(model)).id == model
        whole = await client.chat.completions.create(model=model, messages=QUESTION)
        check(whole)
        async with client.chat.completions.stream(
            model=model, messages=QUESTION, stream_options={"include_usage": True}
        ) as stream:
            final = await stream.get_final_completion()
        assert final.choices[0].message.content == whole.choices[0].message.content
        assert final.usage is not None


async def test_the_sync_sdk_asks_and_streams(url: str) -> None:
    def use() -> None:
        with openai.OpenAI(base_url=url, api_key="any") as client:
            check(client.chat.completions.create(model="headrace", messages=QUESTION))
            chunks = list(client.chat.completions.create(model="headrace", messages=QUESTION, stream=True))
        assert chunks[0].choices[0].delta.role == "assistant"
        assert all(len(chunk.choices) == 1 for chunk in chunks), "no choiceless chunk unless usage was asked for"
        assert chunks[-1].choices[0].finish_reason == "stop"
        extra = chunks[-1].model_extra or {}
        assert extra["citations"][0]["quote"] == LEAVE
        assert "26 weeks" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    await asyncio.to_thread(use)


async def test_what_the_model_does_wrong_reaches_the_sdk_as_an_error(
    chat_app: Callable[..., Any], openai_url: str, script: Script, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    model: OpenAIModel
    async with (
        open_openai_model(api_key="k", base_url=openai_url, model="m") as model,
        served(chat_app(model)) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client,
    ):
        for failure in ("cut", "no_finish_reason"):
            script.fail = [failure]
            stream = await client.chat.completions.create(model="headrace", messages=QUESTION, stream=True)
            with pytest.raises(openai.APIError, match="Try again"):
                [chunk async for chunk in stream]
        script.fail = ["overloaded"] * 3
        with pytest.raises(openai.InternalServerError) as raised:
            await client.chat.completions.create(model="headrace", messages=QUESTION)
        assert raised.value.status_code == 503


async def test_a_bad_request_is_the_sdks_bad_request(url: str) -> None:
    async with openai.AsyncOpenAI(base_url=url, api_key="any") as client:
        with pytest.raises(openai.BadRequestError) as raised:
            await client.chat.completions.create(model="headrace", messages=[{"role": "system", "content": "x"}])
        assert raised.value.param == "messages"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("another")


async def test_the_conversation_that_the_client_sends_is_used(
    chat_app: Callable[..., Any], openai_url: str, script: Script, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    messages: Any = [
        {"role": "system", "content": "Talk like a pirate."},
        {"role": "user", "content": [{"type": "text", "text": "How long is parental leave?"}]},
        {"role": "assistant", "content": "26 weeks [1]."},
        {"role": "user", "content": "And for whom?"},
    ]
    async with (
        open_openai_model(api_key="k", base_url=openai_url, model="m") as model,
        served(chat_app(model)) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any") as client,
    ):
        await client.chat.completions.create(model="headrace", messages=messages, temperature=0.3)
    roles = [m["role"] for m in script.requests[0]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert "Talk like a pirate." in script.requests[0]["messages"][0]["content"]
    assert script.requests[0]["temperature"] == 0.3
