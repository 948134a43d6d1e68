"""Chat models behind OpenAI's Chat Completions API: OpenAI, Azure, Bedrock, vLLM, Ollama, LiteLLM and others.

Reference: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from headrace.clients.dialects import AUTO, Dialect, dialect_of
from headrace.clients.openai import RETRIES, LazyOpenAI, open_openai, openai_faults
from headrace.errors import (
    ConfigurationError,
    ModelProtocolError,
    ModelUnavailableError,
    UnsupportedParameterError,
)
from headrace.types import (
    Choice,
    Constraint,
    FinishReason,
    JsonObject,
    Message,
    ModelChunk,
    ModelOptions,
    ToolCallDelta,
    ToolSpec,
    Usage,
)

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream, BadRequestError
    from openai.types.chat import ChatCompletionChunk
    from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCall

CHOICE_FIELD = "choice"
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)
# Of a model that thinks before it writes, nothing may come for a while.
IDLE_TIMEOUT_SECONDS = 60.0


class OpenAIModel:
    """A ChatModel on `/chat/completions`, streaming."""

    def __init__(
        self, openai: LazyOpenAI, *, model: str, dialect: Dialect, idle_timeout_seconds: float = IDLE_TIMEOUT_SECONDS
    ) -> None:
        self._openai = openai
        self._idle_timeout_seconds = idle_timeout_seconds
        self._lists_models = dialect.lists_models
        self._limit_field = dialect.limit_field
        self._knows_limit_field = False
        # Fields that this server has refused by name, and that are left out since.
        self._refused: set[str] = set()
        self.name = model

    async def check(self) -> None:
        """Raises HeadraceError, too, when the server lists its models and this one is none of them."""
        from openai import APIStatusError

        client = await self._openai.client()
        with openai_faults(self._what, ModelUnavailableError):
            try:
                known = {model.id async for model in client.models.list()}
            except APIStatusError as error:
                if error.status_code in {400, 404, 405, 501}:
                    # A server need not list its models: what it has, it says when it is asked.
                    return
                raise
        # Some servers know a model under more names than they list: name:tag, organisation/name.
        if self._lists_models and known and not any(self.name in one or one in self.name for one in known):
            listed = ", ".join(sorted(known)[:5])
            raise ConfigurationError(
                f"{self._what} is not among the server's models ({listed}{', …' if len(known) > 5 else ''}). "
                "Correct CHAT_MODEL."
            )

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        tools: Sequence[ToolSpec] = (),
        constraint: Constraint | None = None,
        options: ModelOptions | None = None,
    ) -> AsyncGenerator[ModelChunk, None]:
        options = options or ModelOptions()
        request = _Request(_fields(messages, tools=tools, constraint=constraint), options, max_tokens)
        reason, usage, written = "", Usage(), 0
        chosen: list[str] = []
        client = await self._openai.client()
        with openai_faults(self._what, ModelUnavailableError):
            upstream = await self._open(client, request)
            # A plain break out of the stream would leave the upstream running, and billed.
            async with aclosing(cast("Any", upstream)), aclosing(self._unless_idle(upstream)) as chunks:
                async for chunk in chunks:
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
        if not written and not (options.stop and finish_reason is FinishReason.STOP):
            raise ModelUnavailableError(
                f"{self._what} wrote nothing ({reason}). Raise ANSWER_MAX_TOKENS, or ask otherwise."
            )
        if constraint is not None:
            yield ModelChunk(self._constrained("".join(chosen), constraint))
        yield ModelChunk(usage=usage, finish_reason=finish_reason, model=self.name)

    @property
    def _what(self) -> str:
        return f"The language model {self.name!r}"

    async def _unless_idle(
        self, upstream: AsyncStream[ChatCompletionChunk]
    ) -> AsyncGenerator[ChatCompletionChunk, None]:
        """The chunks that say something. Raises ModelUnavailableError when none has come for a while.

        Neither comments nor empty chunks, which servers send to keep a connection open, count as coming.
        """
        chunks = aiter(upstream)
        while True:
            try:
                async with asyncio.timeout(self._idle_timeout_seconds):
                    while not _says_something(chunk := await anext(chunks)):
                        pass
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise ModelUnavailableError(
                    f"{self._what} has written nothing for {self._idle_timeout_seconds:g} seconds. Try again in a moment."
                ) from None
            yield chunk

    def _finish_reason(self, reason: str, *, has_tools: bool) -> FinishReason:
        allowed = {FinishReason.STOP, FinishReason.LENGTH, FinishReason.CONTENT_FILTER}
        if has_tools:
            allowed.add(FinishReason.TOOL_CALLS)
        if reason not in allowed:
            raise ModelProtocolError(f"{self._what} ended with the finish reason {reason!r}, which nobody asked for.")
        return FinishReason(reason)

    def _constrained(self, text: str, constraint: Constraint) -> str:
        """The text, if it satisfies the constraint. Raises ModelProtocolError."""
        if isinstance(constraint, Choice):
            return self._chosen(text, constraint)
        # Servers that do not keep to schemas like to put JSON into a block of code.
        found = _OBJECT.search(text)
        try:
            value = json.loads(found.group() if found else text)
        except ValueError:
            value = None
        if not _fits(value, constraint.schema):
            raise ModelProtocolError(
                f"{self._what} had to write JSON of the form {constraint.name!r}, and wrote something else."
            )
        return json.dumps(value, ensure_ascii=False)

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

    async def _open(self, client: AsyncOpenAI, request: _Request) -> AsyncStream[ChatCompletionChunk]:
        from openai import BadRequestError

        while True:
            sent = self._form
            try:
                return await self._create(client, request)
            except BadRequestError as error:
                # Another call may have learned it meanwhile.
                if sent == self._form and not self._has_learned(error, request):
                    raise

    @property
    def _form(self) -> tuple[str, frozenset[str]]:
        """How requests are worded now, by what this server has refused."""
        return self._limit_field, frozenset(self._refused)

    def _has_learned(self, error: BadRequestError, request: _Request) -> bool:
        """Whether the refusal names a field that can be sent otherwise, or left out; from now on it is.

        Raises UnsupportedParameterError when it names one that the caller asked for.
        """
        refusal = str(error)
        if self._limit_field in refusal and not self._knows_limit_field:
            # The limit has an older name and a newer one.
            self._limit_field = "max_tokens" if self._limit_field != "max_tokens" else "max_completion_tokens"
            self._knows_limit_field = True
            return True
        for name in request.options.given() if not request.options.preferences else ():
            if name == error.param or name in refusal:
                raise UnsupportedParameterError(
                    f"{self._what} does not take this {name}. Leave it out, or give another value.", param=name
                )
        # The prompt of a constrained call says what is asked for, too, and what comes is checked.
        named = {name for name in request.droppable - self._refused if name in refusal}
        self._refused |= named
        return bool(named)

    async def _create(self, client: AsyncOpenAI, request: _Request) -> AsyncStream[ChatCompletionChunk]:
        dropped = self._refused & request.droppable
        sent = {name: value for name, value in request.all_fields().items() if name not in dropped}
        return cast(
            "AsyncStream[ChatCompletionChunk]",
            await client.chat.completions.create(
                model=self.name,
                stream=True,
                extra_body={self._limit_field: request.max_tokens},
                **sent,
            ),
        )


@dataclass(frozen=True, slots=True)
class _Request:
    """What one call sends, but for the model's name and the token limit's."""

    fields: Mapping[str, Any]
    options: ModelOptions
    max_tokens: int

    def all_fields(self) -> dict[str, Any]:
        return {"stream_options": {"include_usage": True}, **self.fields, **self.options.given()}

    @property
    def droppable(self) -> frozenset[str]:
        """The fields without which the call still makes sense."""
        preferred = self.options.given() if self.options.preferences else ()
        return frozenset({"response_format", "stream_options", *preferred} & self.all_fields().keys())


def _says_something(chunk: ChatCompletionChunk) -> bool:
    """Whether the chunk has more in it than what keeps a connection open. A model that thinks says something."""
    if chunk.usage:
        return True
    return any(
        choice.finish_reason or any(value for name, value in choice.delta if name != "role") for choice in chunk.choices
    )


def _fields(
    messages: Sequence[Message],
    *,
    tools: Sequence[ToolSpec],
    constraint: Constraint | None,
) -> dict[str, Any]:
    fields: dict[str, Any] = {"messages": [_message(message) for message in messages]}
    if tools:
        fields["tools"] = [
            {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}}
            for t in tools
        ]
    if constraint is not None:
        fields["response_format"] = _format(constraint)
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


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a flat object has the fields that the schema asks for, each a text, and one of its options where it has some."""
    if not isinstance(value, dict) or not set(schema["required"]) <= value.keys():
        return False
    fields: Mapping[str, Any] = schema["properties"]
    return all(
        isinstance(value[name], str) and value[name] in fields[name].get("enum", (value[name],)) for name in fields
    )


def _format(constraint: Constraint) -> dict[str, Any]:
    """A strict schema, the form that every server with structured output knows; of a choice, one with a single field."""
    if isinstance(constraint, JsonObject):
        return {
            "type": "json_schema",
            "json_schema": {"name": constraint.name, "strict": True, "schema": constraint.schema},
        }
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
    *,
    api_key: str,
    base_url: str,
    model: str,
    provider: str = AUTO,
    idle_timeout_seconds: float = IDLE_TIMEOUT_SECONDS,
    retries: int = RETRIES,
) -> AsyncIterator[OpenAIModel]:
    """The model; makes no connection before its first call. Raises ConfigurationError for an unknown provider."""
    dialect = dialect_of(provider, base_url)
    async with open_openai(api_key=api_key, base_url=base_url, dialect=dialect, retries=retries) as openai:
        yield OpenAIModel(openai, model=model, dialect=dialect, idle_timeout_seconds=idle_timeout_seconds)
