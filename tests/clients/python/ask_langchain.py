"""langchain-openai: the chat model, as chains and agents use it."""

from __future__ import annotations

from cases import ASKED, KEY, MODEL, QUESTION, TURNS, URL, run
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Leave(BaseModel):
    weeks: int


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def model(name=MODEL):
    return ChatOpenAI(model=name, base_url=URL, api_key=KEY, max_retries=0)


def tools():
    said = [HumanMessage(QUESTION)]
    asking = model().bind_tools([weather])
    for _ in range(5):
        answer = asking.invoke(said)
        said.append(answer)
        if not answer.tool_calls:
            return answer.content
        said += [weather.invoke(call) for call in answer.tool_calls]
    raise RuntimeError("The model calls on and on.")


async def streamed():
    return [chunk.content async for chunk in model().astream(ASKED)]


run(
    plain=lambda: model().invoke(ASKED).content,
    streamed=streamed,
    turns=lambda: model().invoke(TURNS).content,
    unknown_model=lambda: model("gpt-9").invoke(ASKED),
    tools=tools,
    structured_by_tool=lambda: (
        model().with_structured_output(Leave, method="function_calling").invoke(ASKED).model_dump_json()
    ),
    structured=lambda: model().with_structured_output(Leave).invoke(ASKED).model_dump_json(),
)
