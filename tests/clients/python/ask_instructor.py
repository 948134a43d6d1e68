"""instructor: a client for structured answers, by a JSON schema, and its plain ones."""

from __future__ import annotations

import instructor
import openai
from cases import ASKED, KEY, MODEL, TURNS, URL, run
from pydantic import BaseModel


class Leave(BaseModel):
    weeks: int


def client(mode):
    return instructor.from_openai(openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0), mode=mode)


def ask(mode, model=MODEL, messages=ASKED, response_model=None):
    return client(mode).chat.completions.create(
        model=model, messages=messages, response_model=response_model, max_retries=0
    )


def streamed():
    chunks = client(instructor.Mode.JSON_SCHEMA).chat.completions.create(
        model=MODEL, messages=ASKED, response_model=None, stream=True
    )
    return [chunk.choices[0].delta.content or "" for chunk in chunks]


run(
    plain=lambda: ask(instructor.Mode.JSON_SCHEMA).choices[0].message.content,
    streamed=streamed,
    turns=lambda: ask(instructor.Mode.JSON_SCHEMA, messages=TURNS).choices[0].message.content,
    unknown_model=lambda: ask(instructor.Mode.JSON_SCHEMA, model="gpt-9"),
    structured_by_tool=lambda: ask(instructor.Mode.TOOLS, response_model=Leave).model_dump_json(),
    structured=lambda: ask(instructor.Mode.JSON_SCHEMA, response_model=Leave).model_dump_json(),
)
