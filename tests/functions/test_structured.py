"""Answers of a guaranteed form: JSON by a schema, a choice, an expression, a grammar, with the sources of each value beside them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import jsonschema
import openai
import pytest
from pydantic import BaseModel

from headrace.answering.attribution import attributed
from headrace.answering.envelope import Envelope, enveloped
from headrace.models.openai import OpenAIModel, open_openai_model
from headrace.types import AnswerOptions, Chunk, Citation, Constraint, Grammar, JsonSchema, Passage, Regex, Unsupported
from headrace.types import Choice as Options
from tests.support.http import served
from tests.support.library import Library
from tests.support.openai_server import Script

LEAVE = "Parents may take 26 weeks of parental leave. Tell the office eight weeks before."
OIL = "The main bearing takes 18 litres of turbine oil."
ASKED = "How many weeks of parental leave are there?"
MESSAGES: Any = [{"role": "user", "content": ASKED}]
SCHEMA = {
    "type": "object",
    "properties": {"weeks": {"type": "integer"}, "who": {"type": "string"}, "paid": {"type": "boolean"}},
    "required": ["weeks", "who", "paid"],
    "additionalProperties": False,
}
FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "leave", "schema": SCHEMA, "strict": True}}
ANSWER = {"weeks": 26, "who": "Parents", "paid": True}


class Leave(BaseModel):
    weeks: int
    who: str
    paid: bool


@pytest.fixture(params=["vllm", "auto"])
async def model(openai_url: str, stack: AsyncExitStack, request: pytest.FixtureRequest) -> OpenAIModel:
    """A server that is known to enforce schemas, and one of which nothing is known."""
    opening = open_openai_model(api_key="k", base_url=openai_url, model="m", provider=request.param)
    return await stack.enter_async_context(opening)


@pytest.fixture
async def url(
    chat_app: Callable[..., Any], model: OpenAIModel, library: Library, stack: AsyncExitStack, script: Script
) -> str:
    await library.put("handbook.docx", LEAVE)
    await library.put("manual.pdf", OIL)
    script.structured = lambda _: ANSWER
    return await stack.enter_async_context(served(chat_app(model, citations="footer")))


@pytest.fixture
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as opened:
        yield opened


async def posted(url: str, **more: Any) -> tuple[int, dict[str, Any]]:
    body = {"model": "headrace", "messages": MESSAGES, **more}
    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/chat/completions", json=body) as response:
        return response.status, await response.json()


async def test_json_by_a_schema_has_the_sources_of_its_values_beside_it(
    client: openai.AsyncOpenAI, script: Script, request: pytest.FixtureRequest
) -> None:
    made = await client.chat.completions.parse(model="headrace", messages=MESSAGES, response_format=Leave)
    message = made.choices[0].message
    assert message.parsed == Leave.model_validate(ANSWER)
    assert json.loads(message.content or "") == ANSWER, "no footer is written into JSON"
    extra = made.model_extra or {}
    found = {each["path"]: (each["name"], each["quote"]) for each in extra["citations"]}
    assert found["/weeks"] == ("handbook.docx", "Parents may take 26 weeks of parental leave.")
    assert found["/who"][0] == "handbook.docx"
    assert "/paid" not in found, "nothing says so, and nothing can say otherwise"
    known = request.node.callspec.params["model"] == "vllm"
    assert extra["headrace"]["constraint"] == ("enforced" if known else "checked")
    sent = script.answers() or script.choices()
    schema = sent[-1]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["answer"]["anyOf"][0]["required"] == ["weeks", "who", "paid"]
    again = await client.chat.completions.parse(model="headrace", messages=MESSAGES, response_format=Leave)
    assert (again.model_extra or {})["headrace"]["cached"] is True
    other = await client.chat.completions.create(
        model="headrace", messages=MESSAGES, response_format={"type": "json_object"}
    )
    assert (other.model_extra or {})["headrace"]["cached"] is False, "another form"


async def test_it_streams_and_is_the_same(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(model="headrace", messages=MESSAGES, response_format=Leave) as stream:
        pieces = [event.delta async for event in stream if event.type == "content.delta"]
        final = await stream.get_final_completion()
    assert final.choices[0].message.parsed == Leave.model_validate(ANSWER)
    assert json.loads("".join(pieces)) == ANSWER
    responded = await client.responses.parse(model="headrace", input=ASKED, text_format=Leave)
    assert responded.output_parsed == Leave.model_validate(ANSWER)
    async with client.responses.stream(model="headrace", input=f"{ASKED} Say it.", text_format=Leave) as events:
        deltas = [event.delta async for event in events if event.type == "response.output_text.delta"]
    assert json.loads("".join(deltas)) == ANSWER


async def test_a_value_that_the_passages_do_not_have_is_flagged(client: openai.AsyncOpenAI, script: Script) -> None:
    script.structured = lambda _: {**ANSWER, "weeks": 27}
    made = await client.chat.completions.create(model="headrace", messages=MESSAGES, response_format=FORMAT)
    assert (made.model_extra or {})["headrace"]["unsupported"] == [
        {"sentence": "/weeks", "doubt": "number", "words": "27"}
    ]


async def test_that_there_is_no_answer_is_a_refusal_in_openais_own_form(
    client: openai.AsyncOpenAI, script: Script
) -> None:
    script.structured = lambda _: None
    for question in (ASKED, "Who won the chess championship of Atlantis?"):
        asked: Any = [{"role": "user", "content": question}]
        made = await client.chat.completions.parse(model="headrace", messages=asked, response_format=Leave)
        message = made.choices[0].message
        assert (message.content, message.parsed, made.choices[0].finish_reason) == (None, None, "stop")
        assert "nothing in your documents" in (message.refusal or "")
        async with client.chat.completions.stream(model="headrace", messages=asked, response_format=Leave) as stream:
            refused = [event.delta async for event in stream if event.type == "refusal.delta"]
        assert "".join(refused) == message.refusal
        responded = await client.responses.create(model="headrace", input=question, text={"format": _text_format()})
        item: Any = responded.output[0]
        assert item.content[0].type == "refusal"
        async with client.responses.stream(model="headrace", input=question, text={"format": _text_format()}) as events:
            kinds = [event.type async for event in events]
        assert kinds.index("response.content_part.added") < kinds.index("response.refusal.delta")
        assert "response.refusal.done" in kinds
        assert "response.output_text.delta" not in kinds


def _text_format() -> Any:
    return {"type": "json_schema", "name": "leave", "schema": SCHEMA, "strict": True}


@pytest.mark.parametrize(
    ("outputs", "answer", "text", "wrong"),
    [
        ({"choice": ["26 weeks", "8 weeks"]}, "26 weeks", "26 weeks", "9 weeks"),
        ({"regex": r"[0-9]+ weeks"}, "26 weeks", "26 weeks", "weeks"),
        ({"json": SCHEMA}, ANSWER, json.dumps(ANSWER), {"weeks": "26"}),
    ],
)
async def test_other_forms_as_in_vllm(
    url: str, script: Script, outputs: dict[str, Any], answer: Any, text: str, wrong: Any
) -> None:
    script.structured = lambda _: answer
    status, said = await posted(url, structured_outputs=outputs)
    assert (status, said["choices"][0]["message"]["content"]) == (200, text)
    assert any("26" in citation["quote"] for citation in said["citations"])
    script.structured = lambda _: wrong
    asked = [{"role": "user", "content": f"{ASKED} Again."}]
    status, said = await posted(url, structured_outputs=outputs, messages=asked)
    assert (status, said["error"]["code"]) == (503, "model_protocol_error")


async def test_a_grammar_is_kept_to(url: str, script: Script) -> None:
    script.reply = lambda _: "weeks: 26"
    status, said = await posted(url, structured_outputs={"grammar": 'start: "weeks: " /[0-9]+/'})
    assert (status, said["choices"][0]["message"]["content"]) == (200, "weeks: 26")
    assert said["headrace"]["constraint"] == "checked"
    script.reply = lambda _: "It is 26 weeks."
    asked = [{"role": "user", "content": f"{ASKED} Again."}]
    status, said = await posted(url, structured_outputs={"grammar": 'start: "weeks: " /[0-9]+/'}, messages=asked)
    assert (status, said["error"]["code"]) == (503, "model_protocol_error")


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nope"}}}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "http://127.0.0.1/"}}}}, "response_format"),
        ({"structured_outputs": {"regex": "(a"}}, None),
        ({"structured_outputs": {"grammar": "start: nowhere"}}, None),
        ({"structured_outputs": {"choice": []}}, "structured_outputs"),
        ({"structured_outputs": {}}, "structured_outputs"),
        ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs"),
        ({"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}}, "structured_outputs"),
        ({"model": "headrace-extractive", "response_format": {"type": "json_object"}}, "response_format"),
    ],
)  # fmt: skip
async def test_a_form_that_can_not_be_kept_is_refused_before_anything_is_asked(
    url: str, script: Script, more: dict[str, Any], param: str | None
) -> None:
    status, said = await posted(url, **more)
    assert status == 400
    assert param is None or said["error"]["param"].startswith(param)
    assert script.requests == []
    status, _ = await posted(url, response_format={"type": "text"})
    assert status == 200


PASSAGES = [Passage(Chunk("documents/a.txt", 1, 0, LEAVE), 1.0), Passage(Chunk("documents/b.txt", 1, 0, OIL), 0.5)]


@pytest.mark.parametrize(
    ("value", "cited", "doubted"),
    [
        ({"weeks": 26}, {"/weeks": 1}, {}),
        ({"a/b": [{"~": 18}]}, {"/a~1b/0/~0": 2}, {}),
        ({"weeks": 26.0, "notice": 8}, {"/weeks": 1, "/notice": 1}, {}),
        ({"weeks": 27}, {}, {"/weeks": "number"}),
        ({"text": "The main bearing takes 18 litres"}, {"/text": 2}, {}),
        ({"text": "The main bearing takes 19 litres"}, {}, {"/text": "number"}),
        ({"text": "It takes 18 kilograms of oil"}, {}, {"/text": "unit"}),
        ({"label": "HR", "paid": False, "none": None, "empty": ""}, {}, {}),
        ("turbine oil", {"": 2}, {}),
        (26, {"": 1}, {}),
    ],
)
def test_each_value_has_its_sentence_or_its_doubt(value: Any, cited: dict[str, int], doubted: dict[str, str]) -> None:
    found = list(attributed(value, PASSAGES, "What is it?"))
    assert all(isinstance(each, Citation | Unsupported | None) for each in found)
    assert {each.path: each.number for each in found if isinstance(each, Citation)} == cited
    assert {each.sentence: each.doubt for each in found if isinstance(each, Unsupported)} == doubted


def test_an_envelope_is_opened_at_every_cut() -> None:
    values: list[Any] = [
        ANSWER,
        [],
        {"a": {"b": ['"}', "]\\", "é\u2028"]}, "c": ","},
        3,
        "x,}",
        True,
        {"found": True, "answer": 1},
    ]
    for value in values:
        for written in (
            json.dumps({"found": True, "answer": value}),
            json.dumps({"found": True, "answer": value}, indent=2),
        ):
            for cut in range(1, len(written)):
                envelope = Envelope(JsonSchema("x", {}))
                said = "".join(envelope.feed(written[at : at + cut]) for at in range(0, len(written), cut))
                opened, rest = envelope.close()
                assert (opened, json.loads(said + rest)) == (value, value)
    other_order = Envelope(JsonSchema("x", {}))
    assert other_order.feed(json.dumps({"answer": ANSWER, "found": True})) == ""
    assert json.loads(other_order.close()[1]) == ANSWER
    for nothing in ({"found": False, "answer": None}, {"found": True, "answer": None}, {"found": False, "answer": 3}):
        envelope = Envelope(JsonSchema("x", {}))
        envelope.feed(json.dumps(nothing))
        assert envelope.close()[0] is None


def test_a_schema_means_the_same_in_its_envelope() -> None:
    tree = {"$defs": {"leaf": {"type": "integer"}}, "type": "object", "properties": {
        "value": {"$ref": "#/$defs/leaf"}, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "same": {"$ref": "#/properties/value"}},
        "required": ["value"], "additionalProperties": False}  # fmt: skip
    inside = enveloped(JsonSchema("tree", tree)).schema
    for value in ({"value": 1}, {"value": 1, "next": {"value": 2, "next": None}, "same": 3}, {"value": "1"}, {"next": {"value": 1}},
                  {"value": 1, "next": {"value": "x"}}, {"value": 1, "same": "x"}):  # fmt: skip
        is_right = jsonschema.Draft202012Validator(tree).is_valid(value)
        enclosed = {"found": True, "answer": value}
        assert jsonschema.Draft202012Validator(inside).is_valid(enclosed) is is_right, value


@pytest.mark.parametrize(
    "constraint", [None, JsonSchema("x", SCHEMA, strict=False), Options(("a", "b")), Regex("a+"), Grammar('start: "a"')]
)
def test_the_form_is_part_of_what_is_shared(constraint: Constraint | None) -> None:
    options = AnswerOptions("Be short.", 9, constraint=constraint)
    assert AnswerOptions.read(options.key) == options
