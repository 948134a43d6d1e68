"""LiteLLM, as the library that proxies and agents use."""

from __future__ import annotations

import litellm
from cases import ASKED, KEY, MODEL, TOOL, TURNS, URL, chat_with_tool, run
from pydantic import BaseModel


class Leave(BaseModel):
    weeks: int


def ask(model=MODEL, messages=ASKED, **more):
    return litellm.completion(
        model=f"openai/{model}", messages=messages, api_base=URL, api_key=KEY, num_retries=0, max_retries=0, **more
    )


async def streamed():
    stream = await litellm.acompletion(model=f"openai/{MODEL}", messages=ASKED, api_base=URL, api_key=KEY, stream=True)
    return [chunk.choices[0].delta.content or "" async for chunk in stream]


run(
    plain=lambda: ask().choices[0].message.content,
    streamed=streamed,
    turns=lambda: ask(messages=TURNS).choices[0].message.content,
    unknown_model=lambda: ask("gpt-9"),
    tools=lambda: chat_with_tool(lambda said: ask(messages=said, tools=[TOOL])),
    structured=lambda: ask(response_format=Leave).choices[0].message.content,
)
