"""pydantic-ai's agents, on Chat Completions."""

from __future__ import annotations

from cases import ANSWER, FOLLOW_UP, KEY, MODEL, QUESTION, URL, run
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


class Leave(BaseModel):
    weeks: int


def agent(name=MODEL, **more):
    return Agent(OpenAIChatModel(name, provider=OpenAIProvider(base_url=URL, api_key=KEY)), **more)


async def plain():
    return (await agent().run(QUESTION)).output


async def streamed():
    async with agent().run_stream(QUESTION) as result:
        return [piece async for piece in result.stream_text(delta=True, debounce_by=None)]


async def turns():
    first = await agent().run(QUESTION)
    assert first.output == ANSWER
    return (await agent().run(FOLLOW_UP, message_history=first.all_messages())).output


async def unknown_model():
    await agent("gpt-9").run(QUESTION)


async def tools():
    asking = agent()

    @asking.tool_plain
    def weather(city: str) -> str:
        """The weather in a city."""
        return f"sunny in {city}"

    return (await asking.run(QUESTION)).output


async def structured():
    return (await agent(output_type=NativeOutput(Leave)).run(QUESTION)).output.model_dump_json()


async def structured_by_tool():
    return (await agent(output_type=Leave).run(QUESTION)).output.model_dump_json()


run(
    plain=plain,
    streamed=streamed,
    turns=turns,
    unknown_model=unknown_model,
    tools=tools,
    structured=structured,
    structured_by_tool=structured_by_tool,
)
