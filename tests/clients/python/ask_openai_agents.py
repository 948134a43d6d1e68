"""openai-agents, on Responses (its default) and on Chat Completions."""

from __future__ import annotations

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from cases import ANSWER, FOLLOW_UP, KEY, MODEL, QUESTION, URL, run
from openai import AsyncOpenAI
from pydantic import BaseModel

set_tracing_disabled(True)


class Leave(BaseModel):
    weeks: int


@function_tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def cases(kind):
    def agent(name=MODEL, **more):
        client = AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0)
        return Agent(name="Guide", instructions="Be kind.", model=kind(model=name, openai_client=client), **more)

    async def plain():
        return (await Runner.run(agent(), QUESTION)).final_output

    async def streamed():
        result = Runner.run_streamed(agent(), QUESTION)
        pieces = [
            event.data.delta
            async for event in result.stream_events()
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
        ]
        assert result.final_output == "".join(pieces)
        return pieces

    async def turns():
        first = await Runner.run(agent(), QUESTION)
        assert first.final_output == ANSWER
        return (
            await Runner.run(agent(), [*first.to_input_list(), {"role": "user", "content": FOLLOW_UP}])
        ).final_output

    async def unknown_model():
        await Runner.run(agent("gpt-9"), QUESTION)

    async def tools():
        return (await Runner.run(agent(tools=[weather]), QUESTION)).final_output

    async def structured():
        return (await Runner.run(agent(output_type=Leave), QUESTION)).final_output.model_dump_json()

    return {
        "plain": plain, "streamed": streamed, "turns": turns, "unknown_model": unknown_model, "tools": tools,
        "structured": structured,
    }  # fmt: skip


async def goes_on():
    """By `previous_response_id`, which only Responses knows."""
    agent = Agent(
        name="Guide", model=OpenAIResponsesModel(model=MODEL, openai_client=AsyncOpenAI(base_url=URL, api_key=KEY))
    )
    first = await Runner.run(agent, QUESTION)
    return (await Runner.run(agent, FOLLOW_UP, previous_response_id=first.last_response_id)).final_output


chat = {f"chat_{name}": case for name, case in cases(OpenAIChatCompletionsModel).items()}
run(**cases(OpenAIResponsesModel), goes_on=goes_on, **chat)
