"""What Chat Completions calls things: requests and pieces of answers, to and from the domain's own values.

Reference: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace.clients.openai_api import BrokenAnswerError, StatusError
from headrace.models.constraints import Form
from headrace.types import Message, ModelOptions, NamedTool, ToolCallDelta, ToolChoice, ToolSpec, ToolUse, Usage

# The statuses with which a server refuses a request for what is in it.
REFUSALS = frozenset({400, 422})
_REFUSES = r"(?:unsupported|not supported|unknown|unrecognized|unexpected|extra|not permitted|not allowed|invalid|must be|should be|does not (?:take|support))"


@dataclass(frozen=True, slots=True)
class Request:
    """What one call sends, but for the model's name and the token limit's."""

    fields: Mapping[str, Any]
    options: ModelOptions
    max_tokens: int
    extra: Mapping[str, Any] = field(default_factory=dict)

    def all_fields(self) -> dict[str, Any]:
        return {"stream_options": {"include_usage": True}, **self.fields, **self.options.given()}

    @property
    def droppable(self) -> frozenset[str]:
        """The fields without which the call still makes sense."""
        preferred = self.options.given() if self.options.preferences else ()
        return frozenset({"response_format", "stream_options", "tool_choice", *preferred} & self.all_fields().keys())


@dataclass(slots=True)
class Piece:
    """What one chunk of a stream says. `is_alive` is whether there is more in it than what keeps a connection open.

    A model that thinks says something.
    """

    text: str = ""
    calls: tuple[ToolCallDelta, ...] = ()
    finish_reason: str = ""
    usage: Usage | None = None
    is_alive: bool = False


def read_piece(chunk: Mapping[str, Any]) -> Piece:
    """A chunk's first choice, and the usage. Raises BrokenAnswerError for what is none."""
    piece = Piece()
    try:
        for choice in (chunk.get("choices") or ())[:1]:
            delta = choice.get("delta") or {}
            piece.text = delta.get("content") or ""
            piece.finish_reason = choice.get("finish_reason") or ""
            piece.is_alive = bool(
                piece.text or piece.finish_reason or any(value for name, value in delta.items() if name != "role")
            )
            if calls := delta.get("tool_calls"):
                piece.calls = tuple(map(_call_delta, calls))
        if usage := chunk.get("usage"):
            piece.usage = Usage(int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))
            piece.is_alive = True
    except (AttributeError, TypeError, ValueError) as error:
        raise BrokenAnswerError(f"A chunk is none of a completion: {error}") from error
    if not isinstance(piece.text, str):
        raise BrokenAnswerError("A chunk's content is no text.")
    return piece


def fields_of(messages: Sequence[Message], form: Form) -> dict[str, Any]:
    """The fields of a request for a continuation of these messages."""
    return {"messages": [_message(message) for message in messages], **form.fields}


def tools_form(tools: Sequence[ToolSpec], choice: ToolChoice) -> Form:
    """What a request has beside its messages where the model may call tools; nothing where there are none."""
    if not tools:
        return Form()
    fields: dict[str, Any] = {"tools": [_tool(tool) for tool in tools]}
    if isinstance(choice, NamedTool):
        fields["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice is not ToolUse.AUTO:
        fields["tool_choice"] = str(choice)
    return Form(fields)


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _message(message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        fields["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        fields["tool_call_id"] = message.tool_call_id
    return fields


def names_field(refusal: StatusError, field: str) -> bool:
    """Whether the refusal is one of this field: by its own word, or by a sentence that says so."""
    if refusal.param == field:
        return True
    name = rf"\b{re.escape(field)}\b"
    return re.search(rf"{_REFUSES}[^.;]*{name}|{name}[^.;]*{_REFUSES}", str(refusal), re.IGNORECASE) is not None


def _call_delta(call: Mapping[str, Any]) -> ToolCallDelta:
    """A piece of a call of a tool."""
    function = call.get("function") or {}
    return ToolCallDelta(
        int(call.get("index") or 0), call.get("id") or "", function.get("name") or "", function.get("arguments") or ""
    )
