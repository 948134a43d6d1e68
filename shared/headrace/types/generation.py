"""Generation: what a chat model is asked, and what it streams back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool that a model asks for. `arguments` is a JSON object as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. `role` is `system`, `user`, `assistant` or `tool`.

    An assistant's message may carry `tool_calls`; the `tool` message that answers one names it by `tool_call_id`.
    """

    role: str
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool that a model may call. `parameters` is the JSON Schema of its arguments.

    `strict` is what OpenAI calls so: its servers keep the arguments to the schema.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    strict: bool | None = None

    @property
    def arguments(self) -> JsonSchema:
        """What the arguments of a call have to satisfy."""
        return JsonSchema(self.name, self.parameters, strict=False)


class ToolUse(StrEnum):
    """Whether a model may call tools."""

    AUTO = "auto"  # as it sees fit
    NONE = "none"  # not now
    REQUIRED = "required"  # one at least


@dataclass(frozen=True, slots=True)
class NamedTool:
    """A model has to call the tool of this name."""

    name: str


ToolChoice = ToolUse | NamedTool


@dataclass(frozen=True, slots=True)
class Choice:
    """A constraint: the model's whole text is one of these options."""

    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """A constraint: the model's whole text is JSON that the schema allows. `name` is for the server's logs.

    `strict` is what OpenAI calls so: the schema keeps to the subset that its servers enforce.
    """

    name: str
    schema: Mapping[str, Any]
    strict: bool = True


@dataclass(frozen=True, slots=True)
class Regex:
    """A constraint: the model's whole text matches the expression, in the syntax of Rust's regex."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Grammar:
    """A constraint: the model's whole text is of the grammar's language, in llguidance's dialect of Lark.

    `regex` is an expression that allows the same texts, where there is one: more servers enforce it.
    Source: https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
    """

    text: str
    regex: str = ""


Constraint = Choice | JsonSchema | Regex | Grammar


def constraint_key(constraint: Constraint) -> list[Any]:
    """The constraint as a JSON value, which `read_constraint` reads."""
    match constraint:
        case Choice(options):
            return ["choice", list(options)]
        case JsonSchema(name, schema, strict):
            return ["json", name, schema, strict]
        case Regex(pattern):
            return ["regex", pattern]
        case Grammar(text, regex):
            return ["grammar", text, regex]


def read_constraint(key: Sequence[Any]) -> Constraint:
    """The constraint that has this key."""
    match key:
        case ["choice", options]:
            return Choice(tuple(options))
        case ["json", name, schema, strict]:
            return JsonSchema(name, schema, strict)
        case ["regex", pattern]:
            return Regex(pattern)
        case ["grammar", text, regex]:
            return Grammar(text, regex)
    raise ValueError(f"{key[:1]!r} is no constraint")


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """How a model shall write: OpenAI's parameters of these names. What is None or empty is left to the model.

    What a model's server refuses is a fault, unless these are mere `preferences`: then it is left out.
    """

    stop: tuple[str, ...] = ()
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    preferences: bool = False

    def given(self) -> dict[str, Any]:
        """What is not left to the model, by name."""
        fields: dict[str, Any] = {"stop": list(self.stop)} if self.stop else {}
        for name in MODEL_OPTIONS:
            if (value := getattr(self, name)) is not None:
                fields[name] = value
        return fields


MODEL_OPTIONS = (
    "temperature", "top_p", "seed", "frequency_penalty", "presence_penalty", "reasoning_effort", "verbosity",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a model read and wrote; zero where no language model ran."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.prompt_tokens + other.prompt_tokens, self.completion_tokens + other.completion_tokens)


class FinishReason(StrEnum):
    """Why a model, or an answer, ended. A model never ends with `refused` or `stopped`."""

    STOP = "stop"
    LENGTH = "length"  # the token limit was reached
    CONTENT_FILTER = "content_filter"
    TOOL_CALLS = "tool_calls"
    REFUSED = "refused"  # nothing in the documents answers the question
    STOPPED = "stopped"  # its asker stopped it, or had been gone for long

    @property
    def is_whole(self) -> bool:
        """Whether the answer says all that it was going to say."""
        return self in {FinishReason.STOP, FinishReason.REFUSED}


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call. The first piece of call number `index` has its id and name; arguments are concatenated."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class ModelChunk(NamedTuple):
    """One piece of a model's stream: text, pieces of tool calls, or (once, at the end) usage and finish reason.

    The last one names the `model` that wrote; a `fallback` is another one than the configured. Of a constrained text it says
    whether the server `enforced` the constraint; it was checked in any case.
    """

    text: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    usage: Usage | None = None
    finish_reason: FinishReason | None = None
    model: str = ""
    fallback: bool = False
    enforced: bool = False
