"""The bodies of OpenAI's requests: what is honoured of them, and the question that they ask.

What they do not declare goes through headrace's three classes of parameters (functions.chat.wire.parameters).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from functions.chat.wire.bodies import MAX_QUESTION_CHARACTERS
from functions.chat.wire.forms import ResponseFormat, StructuredOutputs, TextFormat, constraint_in
from functions.chat.wire.parameters import FUNCTIONS, REASONING, RESPONSE_TEXT
from functions.chat.wire.tools import (
    Choice,
    CompletionTool,
    ResponseTool,
    calls_in,
    check_results,
    joined,
    tool_options,
)
from headrace.errors import InvalidInputError, UnsupportedParameterError
from headrace.types import AnswerOptions, Constraint, Message, ModelOptions, ToolCall, ToolOptions

# Of what clients send along: one message, all of them, and what the application asks of tone and form.
MAX_TURN_CHARACTERS = 100_000
MAX_CONVERSATION_CHARACTERS = 400_000
MAX_STYLE_CHARACTERS = 20_000
MAX_EMBEDDED_TEXTS = 256
MAX_EMBEDDED_CHARACTERS = 100_000

Citations = Literal["none", "footer", "inline"]
Stop = Annotated[str, Field(min_length=1, max_length=200)]
Tokens = Annotated[int, Field(ge=1, le=1_000_000)]
# What clients repeat of an answer's message, which asks for nothing: its name and state, and lists that are empty.
NOT_SAID = frozenset({"id", "status", "tool_calls", "tool_call_id", "call_id", "arguments", "output"})
# Of text alone, in OpenAI's various words for it.
TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}


class _Body(BaseModel):
    model_config = ConfigDict(extra="allow")


class ChatMessage(_Body):
    """One message of `POST /v1/chat/completions`, or one item of `POST /v1/responses`."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"] | None = None
    content: str | list[dict[str, Any]] | None = None
    type: str | None = None

    def turn(self, param: str) -> Message:
        """What was said: text, calls of the caller's tools, or what one gave. Raises InvalidInputError."""
        extra = self.model_extra or {}
        match self.type:
            case "function_call":
                call = (extra.get("call_id"), extra.get("name"), extra.get("arguments"))
                if not all(isinstance(part, str) for part in call):
                    raise InvalidInputError(f"`{param}` has a call without call_id, name, arguments.", param=param)
                return Message("assistant", "", (ToolCall(*map(str, call)),))
            case "function_call_output":
                return Message("tool", _output(extra.get("output"), param), tool_call_id=str(extra.get("call_id")))
            case None | "message" if self.role is not None:
                if self.role == "function" or extra.get("function_call"):
                    raise UnsupportedParameterError(f"`{param}` has a function's call. {FUNCTIONS}", param=param)
                calls = calls_in(extra.get("tool_calls"), param) if self.role == "assistant" else ()
                return Message(self.role, self.text(param), calls, str(extra.get("tool_call_id") or ""))
        what = self.type if self.role is None else self.role
        raise UnsupportedParameterError(f"`{param}` has a {what!r} item, which means nothing here.", param=param)

    def text(self, param: str) -> str:
        """The text of its parts. Raises UnsupportedParameterError for parts that are none."""
        if not isinstance(self.content, list):
            return self.content or ""
        return "".join(_part(part, param) for part in self.content)


class StreamOptions(BaseModel):
    """OpenAI's `stream_options`; `include_obfuscation` changes nothing, because nothing is padded."""

    model_config = ConfigDict(extra="forbid")

    include_usage: bool = False
    include_obfuscation: bool | None = None


class CompletionBody(_Body):
    """`POST /v1/chat/completions`. `filter` and `citations` are this server's own."""

    model: str = Field(min_length=1, max_length=200)
    messages: list[ChatMessage] = Field(min_length=1, max_length=500)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    reasoning_effort: str | None = Field(default=None, max_length=20)
    verbosity: str | None = Field(default=None, max_length=20)
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    tools: list[CompletionTool] | None = None
    tool_choice: Choice | None = None
    parallel_tool_calls: bool | None = None
    filter: dict[str, Any] | None = None
    citations: Citations | None = None

    @property
    def constraint(self) -> Constraint | None:
        """The form that the answer must have. Raises InvalidInputError."""
        return constraint_in(self.response_format, self.structured_outputs)

    def unused(self) -> list[str]:
        """What of it changes nothing, beside the parameters that never do."""
        names = _unused_of(self.messages, "messages")
        if self.parallel_tool_calls is not None and not self.tools:
            names.append("parallel_tool_calls")
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            names.append("max_tokens")
        if self.stream_options is not None and not self.stream:
            names.append("stream_options")
        if self.stream_options is not None and self.stream_options.include_obfuscation is not None:
            names.append("stream_options.include_obfuscation")
        return names

    def options(self, style: str) -> AnswerOptions:
        """How the answer is wanted."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        model = ModelOptions(
            stop=tuple(stop),
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            frequency_penalty=self.frequency_penalty or None,
            presence_penalty=self.presence_penalty or None,
            reasoning_effort=self.reasoning_effort,
            verbosity=self.verbosity,
        )
        return AnswerOptions(style, self.max_completion_tokens or self.max_tokens, model, self.constraint)


class Reasoning(_Body):
    """OpenAI's `reasoning`."""

    effort: str | None = Field(default=None, max_length=20)


class ResponseText(_Body):
    """OpenAI's `text`."""

    verbosity: str | None = Field(default=None, max_length=20)
    format: TextFormat | None = None


class ResponseBody(_Body):
    """`POST /v1/responses`. `filter` and `citations` are this server's own."""

    model: str = Field(min_length=1, max_length=200)
    input: str | Annotated[list[ChatMessage], Field(min_length=1, max_length=500)]
    instructions: str | None = None
    previous_response_id: str | None = Field(default=None, min_length=1, max_length=200)
    store: bool | None = None
    stream: bool | None = None
    max_output_tokens: Tokens | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    reasoning: Reasoning | None = None
    text: ResponseText | None = None
    metadata: (
        Annotated[
            dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
        ]
        | None
    ) = None
    structured_outputs: StructuredOutputs | None = None
    tools: list[ResponseTool] | None = None
    tool_choice: Choice | None = None
    parallel_tool_calls: bool | None = None
    filter: dict[str, Any] | None = None
    citations: Citations | None = None

    @property
    def constraint(self) -> Constraint | None:
        """The form that the answer must have. Raises InvalidInputError."""
        form = self.text.format if self.text is not None else None
        return constraint_in(None if form is None else form.as_response_format(), self.structured_outputs)

    @property
    def messages(self) -> list[ChatMessage]:
        """The input as messages, `instructions` first."""
        said = self.input if isinstance(self.input, list) else [ChatMessage(role="user", content=self.input)]
        return [*([ChatMessage(role="developer", content=self.instructions)] if self.instructions else []), *said]

    def unused(self) -> list[str]:
        """What of it changes nothing, beside the parameters that never do."""
        names = _unused_of(self.input, "input") if isinstance(self.input, list) else []
        return names + (["parallel_tool_calls"] if self.parallel_tool_calls is not None and not self.tools else [])

    def options(self, style: str) -> AnswerOptions:
        """How the answer is wanted. Raises UnsupportedParameterError."""
        reasoning, text = self.reasoning or Reasoning(), self.text or ResponseText()
        REASONING.check(reasoning.model_extra)
        RESPONSE_TEXT.check(text.model_extra)
        model = ModelOptions(
            temperature=self.temperature,
            top_p=self.top_p,
            reasoning_effort=reasoning.effort,
            verbosity=text.verbosity,
        )
        return AnswerOptions(style, self.max_output_tokens, model, self.constraint)


class EmbeddingBody(_Body):
    """`POST /v1/embeddings`."""

    model: str = Field(min_length=1, max_length=200)
    input: str | list[Any]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(default=None, ge=1)

    @property
    def texts(self) -> list[str]:
        """The texts to embed. Raises InvalidInputError."""
        texts = [self.input] if isinstance(self.input, str) else self.input
        if any(not isinstance(text, str) for text in texts):
            raise UnsupportedParameterError(
                "`input` has numbers of tokens, which differ from model to model. Send text (in LangChain: "
                "`check_embedding_ctx_length=False`).",
                param="input",
            )
        if not 1 <= len(texts) <= MAX_EMBEDDED_TEXTS:
            raise InvalidInputError(f"`input` may have 1 to {MAX_EMBEDDED_TEXTS} texts.", param="input")
        if sum(map(len, texts)) > MAX_EMBEDDED_CHARACTERS:
            raise InvalidInputError(
                f"`input` may have {MAX_EMBEDDED_CHARACTERS:,} characters in all. Send it in several requests.",
                param="input",
            )
        for text in texts:
            if not 1 <= len(text) <= MAX_QUESTION_CHARACTERS:
                raise InvalidInputError(
                    f"A text in `input` may have 1 to {MAX_QUESTION_CHARACTERS:,} characters.", param="input"
                )
        return texts


class Asking(Protocol):
    """A body that asks a question."""

    tool_choice: Choice | None
    parallel_tool_calls: bool | None

    @property
    def messages(self) -> Sequence[ChatMessage]:
        """What was said, the question last, or what was done for it since."""

    @property
    def tools(self) -> Sequence[CompletionTool | ResponseTool] | None:
        """The caller's tools."""

    def options(self, style: str) -> AnswerOptions:
        """How the answer is wanted."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a body asks: the question, the conversation before it, how the answer is wanted, and which tools it may use."""

    text: str
    history: list[Message]
    options: AnswerOptions
    tools: ToolOptions


def asked_in(body: Asking, *, param: str) -> Asked:
    """What the body asks. Raises InvalidInputError."""
    said = joined(message.turn(param) for message in body.messages)
    _check_lengths([turn.content + "".join(call.arguments for call in turn.tool_calls) for turn in said], param)
    style = "\n\n".join(turn.content for turn in said if turn.role in {"system", "developer"} and turn.content.strip())
    if len(style) > MAX_STYLE_CHARACTERS:
        raise InvalidInputError(
            f"System messages may have {MAX_STYLE_CHARACTERS:,} characters together. Shorten them.", param=param
        )
    turns = [turn for turn in said if turn.role not in {"system", "developer"}]
    place = max((place for place, turn in enumerate(turns) if turn.role == "user"), default=-1)
    after = turns[place + 1 :]
    if place < 0 or not turns[place].content.strip() or (after and after[-1].role != "tool"):
        what = "the user's question, and not empty; or a tool's result, with the question and the call before it"
        raise InvalidInputError(f"The last of `{param}` must be {what}.", param=param)
    if len(turns[place].content) > MAX_QUESTION_CHARACTERS:
        raise InvalidInputError(
            f"A question may have at most {MAX_QUESTION_CHARACTERS:,} characters. Shorten the last message.",
            param=param,
        )
    check_results(turns, param)
    # What tools were called for earlier questions is in the answers to these.
    history = [Message(t.role, t.content) for t in turns[:place] if t.role in {"user", "assistant"} and t.content]
    tools = tool_options(body.tools or (), body.tool_choice, after, one_at_a_time=body.parallel_tool_calls is False)
    return Asked(turns[place].content, history, body.options(style), tools)


def _unused_of(messages: Sequence[ChatMessage], param: str) -> list[str]:
    """The fields of messages that change nothing."""
    said = [message for message in messages if message.type != "function_call"]
    given = {name for message in said for name, value in (message.model_extra or {}).items() if value is not None}
    return [f"{param}[].{name}" for name in sorted(given - NOT_SAID)]


def _check_lengths(texts: Sequence[str], param: str) -> None:
    for length, most, what in (
        (max(map(len, texts)), MAX_TURN_CHARACTERS, "A message may have at most {} characters. Shorten the longest one."),
        (sum(map(len, texts)), MAX_CONVERSATION_CHARACTERS, "All messages may have at most {} characters. Leave out the oldest."),
    ):  # fmt: skip
        if length > most:
            raise InvalidInputError(what.format(f"{most:,}"), param=param)


def _output(output: object, param: str) -> str:
    """What a tool gave: text, or parts of text. Raises InvalidInputError."""
    if isinstance(output, str):
        return output
    if not isinstance(output, list) or not all(isinstance(part, dict) for part in output):
        raise InvalidInputError(f"`{param}` has a function_call_output whose output is no text.", param=param)
    return "".join(_part(part, param) for part in output)


def _part(part: dict[str, Any], param: str) -> str:
    kind = part.get("type")
    text = part.get(TEXT_PARTS.get(str(kind), ""))
    if not isinstance(text, str):
        raise UnsupportedParameterError(
            f"`{param}` has a part of the type {kind!r}. Only text is read here: describe it, or upload the file as a document.",
            param=param,
        )
    return text
