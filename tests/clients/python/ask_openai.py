"""The official Python SDK: blocking, asynchronous, and its streaming helpers, over Chat Completions and Responses."""

from __future__ import annotations

import json

import openai
from cases import ASKED, KEY, MODEL, QUESTION, TOOL, TURNS, URL, chat_with_tool, run
from pydantic import BaseModel


class Leave(BaseModel):
    weeks: int


sync = openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0)


def client():
    return openai.AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0)


async def plain():
    async with client() as asynchronous:
        made = await asynchronous.chat.completions.create(model=MODEL, messages=ASKED)
        return made.choices[0].message.content


def streamed():
    chunks = sync.chat.completions.create(model=MODEL, messages=ASKED, stream=True)
    return [chunk.choices[0].delta.content or "" for chunk in chunks]


async def helper():
    async with client() as asynchronous, asynchronous.chat.completions.stream(model=MODEL, messages=ASKED) as stream:
        pieces = [event.delta async for event in stream if event.type == "content.delta"]
        assert (await stream.get_final_completion()).choices[0].message.content == "".join(pieces)
        return pieces


def responses():
    return sync.responses.create(model=MODEL, input=QUESTION).output_text


async def responses_streamed():
    async with client() as asynchronous, asynchronous.responses.stream(model=MODEL, input=QUESTION) as stream:
        return [event.delta async for event in stream if event.type == "response.output_text.delta"]


def responses_structured():
    made = sync.responses.parse(model=MODEL, input=QUESTION, text_format=Leave)
    return made.output_parsed.model_dump_json()


def responses_tools():
    said = [{"role": "user", "content": QUESTION}]
    tool = {"type": "function", **TOOL["function"]}
    for _ in range(5):
        made = sync.responses.create(model=MODEL, input=said, tools=[tool])
        calls = [item for item in made.output if item.type == "function_call"]
        if not calls:
            return made.output_text
        said += made.output
        said += [
            {
                "type": "function_call_output",
                "call_id": call.call_id,
                "output": f"sunny in {json.loads(call.arguments)['city']}",
            }
            for call in calls
        ]
    raise RuntimeError("The model calls on and on.")


def parsed_of(made):
    return made.choices[0].message.parsed.model_dump_json()


run(
    plain=plain,
    streamed=streamed,
    stream_helper=helper,
    turns=lambda: sync.chat.completions.create(model=MODEL, messages=TURNS).choices[0].message.content,
    responses=responses,
    responses_streamed=responses_streamed,
    unknown_model=lambda: sync.chat.completions.create(model="gpt-9", messages=ASKED),
    tools=lambda: chat_with_tool(lambda said: sync.chat.completions.create(model=MODEL, messages=said, tools=[TOOL])),
    responses_tools=responses_tools,
    structured=lambda: parsed_of(sync.chat.completions.parse(model=MODEL, messages=ASKED, response_format=Leave)),
    responses_structured=responses_structured,
)
