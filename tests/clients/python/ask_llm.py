"""llm, the command line's client, as a library, with the server as one of its extra OpenAI models."""

from __future__ import annotations

import llm
from cases import ANSWER, FOLLOW_UP, KEY, MODEL, QUESTION, URL, run
from llm.default_plugins.openai_models import Chat

LEAVE = {
    "type": "object",
    "properties": {"weeks": {"type": "integer"}},
    "required": ["weeks"],
    "additionalProperties": False,
}


def model(name=MODEL):
    made = Chat(model_id=name, model_name=name, api_base=URL, supports_tools=True, supports_schema=True)
    made.key = KEY
    return made


def turns():
    conversation = llm.Conversation(model=model())
    assert conversation.prompt(QUESTION).text() == ANSWER
    return conversation.prompt(FOLLOW_UP).text()


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


run(
    plain=lambda: model().prompt(QUESTION, stream=False).text(),
    streamed=lambda: list(model().prompt(QUESTION)),
    turns=turns,
    unknown_model=lambda: model("gpt-9").prompt(QUESTION).text(),
    tools=lambda: model().chain(QUESTION, tools=[weather]).text(),
    structured=lambda: model().prompt(QUESTION, schema=LEAVE).text(),
)
