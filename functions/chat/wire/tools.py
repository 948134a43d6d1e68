"""Tools that a caller brings along, in the forms of Chat Completions and Responses, and what was said with them so far.

Reference: https://platform.openai.com/docs/guides/function-calling
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headrace.errors import InvalidInputError, UnsupportedParameterError
from headrace.types import Message, NamedTool, ToolCall, ToolChoice, ToolOptions, ToolSpec, ToolUse

MOST_TOOLS = 128
MOST_TOOL_CHARACTERS = 200_000
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
FUNCTIONS_ONLY = "Only tools of the type 'function' can be called here. Leave the others out."


class Function(BaseModel):
    """A function that a model may call."""

    model_config = ConfigDict(extra="ignore")

    name: Name
    description: str | None = Field(default=None, max_length=20_000)
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(self.name, self.description or "", self.parameters or EMPTY, self.strict)


class CompletionTool(BaseModel):
    """A tool as Chat Completions has it."""

    type: str
    function: Function | None = None


class ResponseTool(BaseModel):
    """A tool as Responses has it: a function's fields stand beside its type."""

    model_config = ConfigDict(extra="allow")

    type: str

    @property
    def function(self) -> Function:
        """Raises InvalidInputError."""
        try:
            return Function.model_validate(self.model_extra or {})
        except ValidationError as error:
            first = error.errors()[0]
            raise InvalidInputError(f"`tools`: {first['loc'][0]}: {first['msg']}.", param="tools") from None


class NamedFunction(BaseModel):
    """Both forms of a choice of one function."""

    type: Literal["function"]
    name: str | None = None
    function: Function | None = None


Choice = Literal["none", "auto", "required"] | NamedFunction
EMPTY = {"type": "object", "properties": {}}


def tool_options(
    tools: Sequence[CompletionTool | ResponseTool],
    choice: Choice | None,
    turns: Sequence[Message],
    *,
    one_at_a_time: bool,
) -> ToolOptions:
    """What an answer may do with the caller's tools. Raises InvalidInputError."""
    specs = []
    for tool in tools:
        if tool.type != "function" or tool.function is None:
            raise UnsupportedParameterError(
                f"`tools` has one of the type {tool.type!r}. {FUNCTIONS_ONLY}", param="tools"
            )
        specs.append(tool.function.spec)
    names = [spec.name for spec in specs]
    try:
        size = sum(len(json.dumps(spec.parameters, allow_nan=False)) + len(spec.description) for spec in specs)
    except (ValueError, RecursionError):
        raise InvalidInputError("`tools` has parameters that are no JSON.", param="tools") from None
    if len(names) > MOST_TOOLS or size > MOST_TOOL_CHARACTERS:
        raise InvalidInputError(
            f"There may be {MOST_TOOLS} tools of {MOST_TOOL_CHARACTERS:,} characters.", param="tools"
        )
    if len(set(names)) < len(names):
        raise InvalidInputError("Two of `tools` have the same name.", param="tools")
    return ToolOptions(tuple(specs), _choice(choice, names), turns=tuple(turns), one_at_a_time=one_at_a_time)


def _choice(choice: Choice | None, names: Sequence[str]) -> ToolChoice:
    if isinstance(choice, NamedFunction):
        name = choice.name or (choice.function.name if choice.function else "")
        if name not in names:
            raise InvalidInputError(f"`tool_choice` names {name!r}, which is none of `tools`.", param="tool_choice")
        return NamedTool(name)
    if choice == "required" and not names:
        raise InvalidInputError("`tool_choice` is required, and there are no `tools`.", param="tool_choice")
    return ToolUse(choice or "auto")


def calls_in(given: object, param: str) -> tuple[ToolCall, ...]:
    """The calls of an assistant's message in Chat Completions. Raises InvalidInputError."""
    try:
        found = [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in given or ()]  # type: ignore[attr-defined]
    except (TypeError, KeyError):
        found = [(None, None, None)]
    if not all(isinstance(part, str) for call in found for part in call):
        raise InvalidInputError(f"`{param}` has a call of a tool without id, name and arguments.", param=param)
    return tuple(ToolCall(*call) for call in found)


def joined(turns: Iterable[Message]) -> list[Message]:
    """The turns, with calls that were made at once in one message, as models read them."""
    made: list[Message] = []
    for turn in turns:
        if turn.tool_calls and made and made[-1].role == "assistant":
            last = made.pop()
            made.append(Message("assistant", last.content + turn.content, (*last.tool_calls, *turn.tool_calls)))
        else:
            made.append(turn)
    return made


def check_results(turns: Sequence[Message], param: str) -> None:
    """Raise InvalidInputError unless each call has one result, behind it."""
    waiting: set[str] = set()
    for turn in turns:
        if turn.role == "tool":
            if turn.tool_call_id not in waiting:
                raise InvalidInputError(
                    f"`{param}` has a tool's result without the call before it ({turn.tool_call_id!r}). Send the call along.",
                    param=param,
                )
            waiting.remove(turn.tool_call_id)
        ids = {call.id for call in turn.tool_calls}
        if len(ids) < len(turn.tool_calls) or ids & waiting:
            raise InvalidInputError(f"`{param}` has two calls with one id.", param=param)
        waiting |= ids
        if turn.role == "user" and waiting:
            break
    if waiting:
        raise InvalidInputError(
            f"`{param}` has calls without a result: {', '.join(sorted(waiting))[:200]}.", param=param
        )


def completion_calls(calls: Sequence[ToolCall], *, is_delta: bool) -> list[dict[str, Any]]:
    """Calls in the form of Chat Completions."""
    return [
        {
            **({"index": index} if is_delta else {}),
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for index, call in enumerate(calls)
    ]


def response_call(call: ToolCall, status: str) -> dict[str, Any]:
    """A call as an item of Responses."""
    return {
        "id": f"fc_{call.id}",
        "type": "function_call",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments if status == "completed" else "",
        "status": status,
    }


def choice_payload(choice: Choice | None) -> str | dict[str, Any]:
    """A choice as it was sent, or what holds without one."""
    return choice.model_dump(exclude_none=True) if isinstance(choice, NamedFunction) else choice or "auto"
