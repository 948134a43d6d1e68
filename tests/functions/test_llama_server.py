"""A real model server: llama.cpp's own, over a tiny model with random weights. What it says is noise; how it says it is not."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

import jsonschema
import openai
import pytest

from headrace.errors import ModelProtocolError, ModelUnavailableError
from headrace.models.openai import OpenAIModel, open_openai_model
from headrace.types import Choice, FinishReason, JsonSchema, Message, ModelChunk, ModelOptions
from tests.support.forms import random_schema
from tests.support.http import served
from tests.support.library import Library
from tests.support.processes import llama_server
from tests.support.scale import tries

MESSAGES = [Message("system", "Be brief."), Message("user", "How many litres of oil?")]
LEAVE = "Parents may take 26 weeks of parental leave."


@pytest.fixture(scope="module")
def llama_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with llama_server(tmp_path_factory.mktemp("llama")) as url:
        yield url


@pytest.fixture
async def model(llama_url: str) -> AsyncIterator[OpenAIModel]:
    async with open_openai_model(api_key="", base_url=llama_url, model="tiny", provider="llama.cpp") as opened:
        yield opened


async def written(model: OpenAIModel, max_tokens: int = 40, **more: Any) -> list[ModelChunk]:
    async with aclosing(model.stream(MESSAGES, max_tokens=max_tokens, **more)) as chunks:
        return [chunk async for chunk in chunks]


async def test_it_is_ready(model: OpenAIModel) -> None:
    await model.check()


async def test_it_streams_counts_and_says_why_it_ended(model: OpenAIModel) -> None:
    chunks = await written(model, options=ModelOptions(seed=1))
    assert sum(bool(chunk.text) for chunk in chunks) > 3
    assert chunks[-1].usage is not None
    assert chunks[-1].finish_reason in {FinishReason.LENGTH, FinishReason.STOP}
    if chunks[-1].finish_reason is FinishReason.LENGTH:
        assert chunks[-1].usage.completion_tokens == 40
    assert chunks[-1].usage.prompt_tokens > len("How many litres of oil?")


async def test_the_same_seed_writes_the_same(model: OpenAIModel) -> None:
    texts = [
        "".join(chunk.text for chunk in await written(model, options=ModelOptions(seed=seed))) for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


async def test_it_stops_where_it_is_told_to(model: OpenAIModel) -> None:
    options = ModelOptions(seed=1)
    text = "".join(chunk.text for chunk in await written(model, options=options))
    stop = next(text[at : at + 2] for at in range(3, len(text)) if text[at : at + 2].isascii())
    chunks = await written(model, options=ModelOptions(seed=1, stop=(stop,)))
    assert "".join(chunk.text for chunk in chunks) == text[: text.index(stop)]
    assert chunks[-1].finish_reason is FinishReason.STOP


async def test_a_choice_is_enforced_by_the_server_as_a_schema(model: OpenAIModel) -> None:
    for seed in range(8):
        chunks = await written(model, 200, constraint=Choice(("yes", "no", "none")), options=ModelOptions(seed=seed))
        (text,) = [chunk.text for chunk in chunks if chunk.text]
        assert text in {"yes", "no", "none"}


async def test_whoever_leaves_ends_its_work(model: OpenAIModel, llama_url: str) -> None:
    async with aclosing(model.stream(MESSAGES, max_tokens=4000, options=ModelOptions(seed=3))) as chunks:
        await anext(chunks)
    async with asyncio.timeout(5):
        # It has two places; both are free again.
        await asyncio.gather(*(written(model, 5) for _ in range(2)))


async def test_a_whole_answer_goes_from_it_to_openais_client(
    chat_app: Callable[..., Any], model: OpenAIModel, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    messages: Any = [{"role": "user", "content": "How long is parental leave?"}]
    async with served(chat_app(model)) as url, openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any") as client:
        whole = await client.chat.completions.create(model="headrace", messages=messages, max_tokens=30, seed=1)
        # Noise may end by itself, too.
        reason = whole.choices[0].finish_reason
        assert whole.usage is not None
        assert whole.usage.completion_tokens == 30 if reason == "length" else reason == "stop"
        chunks = [
            chunk
            async for chunk in await client.chat.completions.create(
                model="headrace", messages=messages, max_tokens=30, seed=1, stream=True
            )
        ]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
        assert chunks[-1].choices[0].finish_reason == reason
        made = await client.responses.create(
            model="headrace", input="How long is parental leave?", max_output_tokens=30
        )
        assert made.status in {"incomplete", "completed"}


async def test_random_schemas_are_enforced_by_it_and_checked(model: OpenAIModel) -> None:
    """Noise within a schema is JSON of the schema, or was cut off and says so, or is a clear fault; nothing else comes out."""
    source, ends = random.Random(7), []
    for number in range(tries(30, 1_000)):
        schema = {
            "type": "object",
            "properties": {"x": random_schema(source)},
            "required": ["x"],
            "additionalProperties": False,
        }
        try:
            chunks = await written(model, 300, constraint=JsonSchema("x", schema), options=ModelOptions(seed=number))
        except (ModelUnavailableError, ModelProtocolError):
            # Its own reader gives up over some noise that its grammar let through.
            ends.append("fault")
            continue
        ends.append(str(chunks[-1].finish_reason))
        if ends[-1] == "stop":
            jsonschema.validate(json.loads("".join(chunk.text for chunk in chunks)), schema)
    assert set(ends) <= {"stop", "length", "fault"}
    assert ends.count("stop") > 0.7 * len(ends), ends
