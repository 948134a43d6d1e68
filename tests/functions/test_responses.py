"""OpenAI's Responses and Embeddings, and citations within the text, used with the official SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseOutputMessage, ResponseOutputText

from headrace.models.openai import OpenAIModel, open_openai_model
from headrace.types import Principal
from tests.support.http import served
from tests.support.library import Library
from tests.support.openai_server import Script

LEAVE = "Parents may take 26 weeks of parental leave."
ASKED = "How long is parental leave?"
REPLY = "It is 26 weeks [1]."


@pytest.fixture
async def model(openai_url: str, script: Script, stack: AsyncExitStack) -> OpenAIModel:
    script.reply = lambda _: REPLY
    return await stack.enter_async_context(open_openai_model(api_key="k", base_url=openai_url, model="m"))


@pytest.fixture
async def client(
    chat_app: Callable[..., Any], model: OpenAIModel, library: Library, stack: AsyncExitStack
) -> openai.AsyncOpenAI:
    await library.put("handbook.docx", LEAVE)
    url = await stack.enter_async_context(served(chat_app(model)))
    return await stack.enter_async_context(openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0))


def check(made: Response) -> None:
    assert (made.status, made.output_text, made.error) == ("completed", REPLY, None)
    (item,) = made.output
    assert isinstance(item, ResponseOutputMessage)
    (part,) = item.content
    assert isinstance(part, ResponseOutputText)
    (annotation,) = part.annotations
    assert annotation.type == "file_citation"
    assert (annotation.filename, annotation.index) == ("handbook.docx", len(REPLY))
    assert annotation.file_id.endswith("handbook.docx")
    assert made.usage is not None
    assert made.usage.output_tokens == 5
    extra = made.model_extra or {}
    assert extra["citations"][0]["quote"] == LEAVE
    assert extra["headrace"]["mode"] == "generated"


async def test_a_response_is_made_whole_and_streamed(client: openai.AsyncOpenAI) -> None:
    check(await client.responses.create(model="headrace", input=ASKED))
    async with client.responses.stream(model="headrace", input=ASKED) as stream:
        events = [event async for event in stream]
        check(await stream.get_final_response())
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == REPLY
    kinds = list(dict.fromkeys(event.type for event in events))
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.annotation.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]


async def test_the_input_may_be_a_conversation(client: openai.AsyncOpenAI, script: Script) -> None:
    turns: Any = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [{"type": "input_text", "text": ASKED}]},
        {
            "type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": REPLY, "annotations": []}],
        },
        {"type": "message", "role": "user", "content": "And for whom?"},
    ]  # fmt: skip
    await client.responses.create(model="headrace", input=turns, instructions="Be kind.")
    (request,) = script.answers()
    assert [message["role"] for message in request["messages"]] == ["system", "user", "assistant", "user"]
    assert "Be kind.\n\nBe short." in request["messages"][0]["content"]


async def test_a_response_goes_on_from_an_earlier_one_which_stays_as_it_is(
    client: openai.AsyncOpenAI, script: Script
) -> None:
    first = await client.responses.create(model="headrace", input=ASKED)
    for _ in range(2):
        script.requests.clear()
        second = await client.responses.create(model="headrace", input="And for whom?", previous_response_id=first.id)
        assert second.previous_response_id == first.id
        asked = [message["content"] for message in script.answers()[0]["messages"][1:]]
        assert ASKED in asked[0]
        assert asked[1] == REPLY
        assert len(asked) == 3, "two answers to one response know nothing of each other"
    script.requests.clear()
    await client.responses.create(model="headrace", input="And the leave of fathers?", previous_response_id=second.id)
    assert len(script.answers()[0]["messages"]) == 6


async def test_what_is_not_stored_or_somebody_elses_is_not_gone_on_from(
    client: openai.AsyncOpenAI,
    chat_app: Callable[..., Any],
    model: OpenAIModel,
    library: Library,
    stack: AsyncExitStack,
) -> None:
    unkept = await client.responses.create(model="headrace", input=ASKED, store=False)
    kept = await client.responses.create(model="headrace", input=ASKED)
    stranger = chat_app(model, principal=Principal(library.tenant, id="somebody else"))
    url = await stack.enter_async_context(served(stranger))
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any") as other:
        for asker, name in ((client, unkept.id), (client, "resp_none"), (other, kept.id)):
            with pytest.raises(openai.BadRequestError) as raised:
                await asker.responses.create(model="headrace", input="And?", previous_response_id=name)
            assert (raised.value.code, raised.value.param) == ("previous_response_not_found", "previous_response_id")


async def test_a_response_that_was_cut_short_is_incomplete(client: openai.AsyncOpenAI, script: Script) -> None:
    script.finish_reason = "length"
    made = await client.responses.create(model="headrace", input=ASKED)
    assert made.status == "incomplete"
    assert made.incomplete_details is not None
    assert made.incomplete_details.reason == "max_output_tokens"
    stream = await client.responses.create(model="headrace", input=ASKED, stream=True)
    assert [event async for event in stream][-1].type == "response.incomplete"


async def test_texts_are_embedded_as_numbers_and_as_base64(client: openai.AsyncOpenAI) -> None:
    texts = ["parental leave", "oil", "parental leave"]
    packed = await client.embeddings.create(model="all-MiniLM-L6-v2", input=texts)
    plain = await client.embeddings.create(model="all-MiniLM-L6-v2", input=texts, encoding_format="float")
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        assert len(one.embedding) == 384
    # Texts that come together may be embedded in two batches, whose sums differ in their last bits.
    assert packed.data[0].embedding == pytest.approx(packed.data[2].embedding, abs=1e-6)
    assert packed.data[0].embedding != pytest.approx(packed.data[1].embedding, abs=1e-2)
    assert [item.index for item in packed.data] == [0, 1, 2]
    assert packed.usage.prompt_tokens >= 5
    one_text = await client.embeddings.create(model="all-MiniLM-L6-v2", input="oil", dimensions=384)
    assert one_text.data[0].embedding == pytest.approx(packed.data[1].embedding, abs=1e-6)


async def test_what_can_not_be_embedded_says_why(client: openai.AsyncOpenAI) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"input": [1, 2, 3]}, "check_embedding_ctx_length"),
        ({"input": [[1, 2], [3]]}, "check_embedding_ctx_length"),
        ({"input": []}, "1 to 256"),
        ({"input": ["", "x"]}, "1 to 8,000"),
        ({"input": "x", "dimensions": 12}, "384"),
    ]
    for body, says in cases:
        with pytest.raises(openai.BadRequestError, match=says):
            await client.embeddings.create(model="all-MiniLM-L6-v2", **body)
    with pytest.raises(openai.NotFoundError, match="all-MiniLM-L6-v2"):
        await client.embeddings.create(model="text-embedding-3-small", input="x")


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("none", REPLY),
        ("footer", f"{REPLY}\n\n[1] handbook.docx, part 1: “{LEAVE}”"),
        ("inline", "It is 26 weeks (handbook.docx, part 1)."),
    ],
)
async def test_citations_may_stand_in_the_text(client: openai.AsyncOpenAI, form: str, text: str) -> None:
    more: dict[str, Any] = {"extra_body": {"citations": form}}
    messages: Any = [{"role": "user", "content": ASKED}]
    for _ in range(2):
        whole = await client.chat.completions.create(model="headrace", messages=messages, **more)
        assert whole.choices[0].message.content == text
    async with await client.chat.completions.create(model="headrace", messages=messages, stream=True, **more) as stream:
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == text
    assert (await client.responses.create(model="headrace", input=ASKED, **more)).output_text == text
    async with client.responses.stream(model="headrace", input=ASKED, **more) as events:
        assert (await events.get_final_response()).output_text == text


async def test_markers_in_code_are_not_named(client: openai.AsyncOpenAI, script: Script) -> None:
    script.reply = lambda _: "Write `weeks[1]` for “[1]” [1]."
    made = await client.responses.create(model="headrace", input=ASKED, extra_body={"citations": "inline"})
    assert made.output_text == "Write `weeks[1]` for “[1]” (handbook.docx, part 1)."


async def test_a_deployment_may_choose_where_citations_stand(
    chat_app: Callable[..., Any], model: OpenAIModel, library: Library, stack: AsyncExitStack
) -> None:
    await library.put("handbook.docx", LEAVE)
    url = await stack.enter_async_context(served(chat_app(model, citations="footer")))

    def ask() -> str | None:
        with openai.OpenAI(base_url=f"{url}/v1", api_key="any") as sdk:
            made = sdk.chat.completions.create(model="headrace", messages=[{"role": "user", "content": ASKED}])
            return made.choices[0].message.content

    assert "[1] handbook.docx" in (await asyncio.to_thread(ask) or "")
