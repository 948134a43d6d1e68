"""langchain-openai: the chat model, as chains and agents use it."""

from __future__ import annotations

from cases import ASKED, KEY, MODEL, TOOL, TURNS, URL, run
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Leave(BaseModel):
    weeks: int


def model(name=MODEL):
    return ChatOpenAI(model=name, base_url=URL, api_key=KEY, max_retries=0)


async def streamed():
    return [chunk.content async for chunk in model().astream(ASKED)]


run(
    plain=lambda: model().invoke(ASKED).content,
    streamed=streamed,
    turns=lambda: model().invoke(TURNS).content,
    unknown_model=lambda: model("gpt-9").invoke(ASKED),
    tools=lambda: model().bind_tools([TOOL]).invoke(ASKED),
    structured=lambda: model().with_structured_output(Leave).invoke(ASKED).model_dump_json(),
)
