"""What every client does with the server, in its own way; run in an environment of its own, it prints JSON.

A case gives the text that it got, or the pieces of it; what it raises is its error.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

URL = os.environ.get("HEADRACE_URL", "")
KEY = os.environ.get("HEADRACE_KEY", "any")
MODEL = "headrace"
QUESTION = "How long is parental leave?"
ANSWER = "It is 26 weeks [1]."
FOLLOW_UP = "And is the leave for fathers?"
TURNS = [
    {"role": "user", "content": QUESTION},
    {"role": "assistant", "content": ANSWER},
    {"role": "user", "content": FOLLOW_UP},
]
ASKED = TURNS[:1]
CALLED = "It is sunny in Bern."
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def chat_with_tool(create: Callable[[list[Any]], Any]) -> str:
    """The loop that people write on Chat Completions: call what the model asks for, and send what it gives."""
    said: list[Any] = list(ASKED)
    for _ in range(5):
        message = create(said).choices[0].message
        if not message.tool_calls:
            return message.content
        said.append(message.model_dump(exclude_none=True))
        for call in message.tool_calls:
            city = json.loads(call.function.arguments)["city"]
            said.append({"role": "tool", "tool_call_id": call.id, "content": f"sunny in {city}"})
    raise RuntimeError("The model calls on and on.")


def run(**cases: Callable[[], Any]) -> None:
    """Do each case, and print what came of it."""
    results = {}
    for name, case in cases.items():
        try:
            made = case()
            if inspect.iscoroutine(made):
                made = asyncio.run(made)
            results[name] = {"text": made if isinstance(made, str) else "".join(made), "pieces": len(made)}
        except Exception as error:  # noqa: BLE001 - what a client makes of a fault is what is looked at
            results[name] = {"error": f"{type(error).__name__}: {error} {error.__cause__ or ''}"[:600]}
            traceback.print_exc(file=sys.stderr)
    print(json.dumps(results))
