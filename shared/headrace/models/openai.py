"""Chat models behind OpenAI's Chat Completions API: OpenAI, Azure, Bedrock, vLLM, Ollama, LiteLLM and others.

Reference: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from headrace.clients.openai import LazyOpenAI, open_openai, openai_faults
from headrace.errors import ModelProtocolError, ModelUnavailableError
from headrace.types import Choice, FinishReason, Message, ModelChunk, ToolCallDelta, ToolSpec, Usage

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream
    from openai.types.chat import ChatCompletionChunk
    from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCall

CHOICE_FIELD = "choice"


class OpenAIModel:
    """A ChatModel on `/chat/completions`, streaming."""

    def __init__(self, openai: LazyOpenAI, *, model: str) -> None:
        self._openai = openai
        self._limit_field = "max_completion_tokens"
        # Fields that this server has refused by name, and that are left out since.
        self._refused: set[str] = set()
        self.name = model

    async def check(self) -> None:
        client = await self._openai.client()
        with openai_faults(self._what, ModelUnavailableError):
            await client.models.list()

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        tools: Sequence[ToolSpec] = (),
        constraint: Choice | None = None,
        stop: Sequence[str] = (),
        temperature: float | None = None,
    ) -> AsyncGenerator[ModelChunk, None]:
        fields = _fields(messages, tools=tools, constraint=constraint, stop=stop, temperature=temperature)
        reason, usage, written = "", Usage(), 0
        chosen: list[str] = []
        client = await self._openai.client()
        with openai_faults(self._what, ModelUnavailableError):
            upstream = await self._open(client, fields, max_tokens)
            # A plain break out of the stream would leave the upstream running, and billed.
            async with aclosing(cast("Any", upstream)):
                async for chunk in upstream:
                    for choice in chunk.choices[:1]:
                        calls = tuple(map(_call_delta, choice.delta.tool_calls or ()))
                        text = choice.delta.content or ""
                        written += len(text) + len(calls)
                        if calls and not tools:
                            raise ModelProtocolError(f"{self._what} called a tool, but was given none.")
                        if constraint is not None:
                            # The answer's form on the wire is not the text that was asked for.
                            chosen.append(text)
                        elif text or calls:
                            yield ModelChunk(text, calls)
                        reason = choice.finish_reason or reason
                    if chunk.usage:
                        usage = Usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        if not reason:
            # Every known client takes such a stream for a complete answer; it is a broken one.
            raise ModelUnavailableError(f"{self._what} broke off its answer. Try again in a moment.")
        finish_reason = self._finish_reason(reason, has_tools=bool(tools))
        if not written:
            raise ModelUnavailableError(
                f"{self._what} wrote nothing ({reason}). Raise ANSWER_MAX_TOKENS, or ask otherwise."
            )
        if constraint is not None:
            yield ModelChunk(self._chosen("".join(chosen), constraint))
        yield ModelChunk(usage=usage, finish_reason=finish_reason)

    @property
    def _what(self) -> str:
        return f"The language model {self.name!r}"

    def _finish_reason(self, reason: str, *, has_tools: bool) -> FinishReason:
        allowed = {FinishReason.STOP, FinishReason.LENGTH, FinishReason.CONTENT_FILTER}
        if has_tools:
            allowed.add(FinishReason.TOOL_CALLS)
        if reason not in allowed:
            raise ModelProtocolError(f"{self._what} ended with the finish reason {reason!r}, which nobody asked for.")
        return FinishReason(reason)

    def _chosen(self, text: str, constraint: Choice) -> str:
        """The option that the text names, as JSON where the server keeps to schemas, else by itself."""
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        option = value.get(CHOICE_FIELD) if isinstance(value, dict) else text.strip().strip("\"'.")
        if option not in constraint.options:
            options = ", ".join(constraint.options)
            raise ModelProtocolError(f"{self._what} had to choose one of {options}, and wrote something else.")
        return str(option)

    async def _open(
        self, client: AsyncOpenAI, fields: dict[str, Any], max_tokens: int
    ) -> AsyncStream[ChatCompletionChunk]:
        from openai import BadRequestError

        while True:
            sent = self._form
            try:
                return await self._create(client, fields, max_tokens)
            except BadRequestError as error:
                # Another call may have learned it meanwhile.
                if sent == self._form and not self._has_learned(str(error), fields):
                    raise

    @property
    def _form(self) -> tuple[str, frozenset[str]]:
        """How requests are worded now, by what this server has refused."""
        return self._limit_field, frozenset(self._refused)

    def _has_learned(self, refusal: str, fields: dict[str, Any]) -> bool:
        """Whether the refusal names a field that can be sent otherwise, or left out; from now on it is."""
        if self._limit_field in refusal and self._limit_field != "max_tokens":
            # Older servers know the limit as max_tokens.
            self._limit_field = "max_tokens"
            return True
        # The prompt of a constrained call says what is asked for, too, and what comes is checked.
        droppable = {"response_format", "temperature"} & (fields.keys() - self._refused)
        named = {name for name in droppable if name in refusal}
        self._refused |= named
        return bool(named)

    async def _create(
        self, client: AsyncOpenAI, fields: dict[str, Any], max_tokens: int
    ) -> AsyncStream[ChatCompletionChunk]:
        sent = {name: value for name, value in fields.items() if name not in self._refused}
        return cast(
            "AsyncStream[ChatCompletionChunk]",
            await client.chat.completions.create(
                model=self.name,
                stream=True,
                stream_options={"include_usage": True},
                extra_body={self._limit_field: max_tokens},
                **sent,
            ),
        )


def _fields(
    messages: Sequence[Message],
    *,
    tools: Sequence[ToolSpec],
    constraint: Choice | None,
    stop: Sequence[str],
    temperature: float | None,
) -> dict[str, Any]:
    fields: dict[str, Any] = {"messages": [_message(message) for message in messages]}
    if tools:
        fields["tools"] = [
            {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}}
            for t in tools
        ]
    if constraint is not None:
        fields["response_format"] = _choice_format(constraint)
    if stop:
        fields["stop"] = list(stop)
    if temperature is not None:
        fields["temperature"] = temperature
    return fields


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


def _choice_format(constraint: Choice) -> dict[str, Any]:
    """A strict schema with one field: the form of a choice that every server with structured output knows."""
    schema = {
        "type": "object",
        "properties": {CHOICE_FIELD: {"type": "string", "enum": list(constraint.options)}},
        "required": [CHOICE_FIELD],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": CHOICE_FIELD, "strict": True, "schema": schema}}


def _call_delta(call: ChoiceDeltaToolCall) -> ToolCallDelta:
    function = call.function
    return ToolCallDelta(
        call.index, call.id or "", (function and function.name) or "", (function and function.arguments) or ""
    )


@asynccontextmanager
async def open_openai_model(
    *, api_key: str, base_url: str, model: str, provider: str = "openai"
) -> AsyncIterator[OpenAIModel]:
    """The model; makes no connection before its first call."""
    async with open_openai(api_key=api_key, base_url=base_url, provider=provider) as openai:
        yield OpenAIModel(openai, model=model)
