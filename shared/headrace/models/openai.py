"""Chat models behind OpenAI's Chat Completions API: OpenAI, Azure, Bedrock, vLLM, Ollama, LiteLLM and others.

Reference: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

from headrace.clients.dialects import AUTO, Dialect, dialect_of
from headrace.clients.openai import RETRIES, open_openai
from headrace.clients.openai_api import ChatStream, OpenAI, StatusError, openai_faults
from headrace.concurrency.idle import IdleLimit
from headrace.constrained.reasons import ConstraintError
from headrace.errors import (
    ConfigurationError,
    ModelProtocolError,
    ModelUnavailableError,
    RefusedError,
    UnsupportedParameterError,
)
from headrace.models.constraints import REPAIR, Form, form_of, read_text
from headrace.models.openai_wire import (
    REFUSALS,
    Piece,
    Request,
    fields_of,
    names_field,
    read_piece,
    tools_form,
)
from headrace.types import (
    Choice,
    Constraint,
    FinishReason,
    Message,
    ModelChunk,
    ModelOptions,
    ToolChoice,
    ToolSpec,
    ToolUse,
    Usage,
)

# Of a model that thinks before it writes, nothing may come for a while.
IDLE_TIMEOUT_SECONDS = 60.0
# What is of the wrong form is asked for once more, with the reason.
TRIES = 2


logger = logging.getLogger(__name__)


class OpenAIModel:
    """A ChatModel on `/chat/completions`, streaming."""

    def __init__(
        self, openai: OpenAI, *, model: str, dialect: Dialect, idle_timeout_seconds: float = IDLE_TIMEOUT_SECONDS
    ) -> None:
        self._openai = openai
        self._idle_timeout_seconds = idle_timeout_seconds
        self._dialect = dialect
        self._limit_field = dialect.limit_field
        self._known_limit_field = ""
        # Fields that this server has refused by name, and that are left out since.
        self._refused: set[str] = set()
        self.name = model

    async def check(self) -> None:
        """Raises HeadraceError, too, when the server lists its models and this one is none of them."""
        with openai_faults(self._what, ModelUnavailableError):
            try:
                known = await self._openai.models()
            except StatusError as error:
                if error.status in {400, 404, 405, 501}:
                    # A server need not list its models: what it has, it says when it is asked.
                    return
                raise
        # Some servers know a model under more names than they list: name:tag, organisation/name.
        if self._dialect.lists_models and known and not any(self.name in one or one in self.name for one in known):
            listed = ", ".join(sorted(known)[:5])
            raise ConfigurationError(
                f"{self._what} is not among the server's models ({listed}{', …' if len(known) > 5 else ''}). "
                "Correct CHAT_MODEL."
            )

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        tools: Sequence[ToolSpec] = (),
        tool_choice: ToolChoice = ToolUse.AUTO,
        constraint: Constraint | None = None,
        options: ModelOptions | None = None,
    ) -> AsyncGenerator[ModelChunk, None]:
        options = options or ModelOptions()
        if constraint is None:
            return self._written(messages, tools_form(tools, tool_choice), options=options, max_tokens=max_tokens)
        return self._constrained(messages, constraint, options=options, max_tokens=max_tokens)

    async def _constrained(
        self, messages: Sequence[Message], constraint: Constraint, *, options: ModelOptions, max_tokens: int
    ) -> AsyncGenerator[ModelChunk, None]:
        """A text that satisfies the constraint. What is not enforced is checked before it is passed on, and asked for twice."""
        form = form_of(constraint, self._dialect)
        said, spent, tries = list(messages), Usage(), 1 if isinstance(constraint, Choice) else TRIES
        for attempt in range(1, tries + 1):
            text, is_passed_on = "", False
            end = ModelChunk()
            asked = self._written(said, form, options=options, max_tokens=max_tokens)
            async with aclosing(asked) as chunks:
                async for chunk in chunks:
                    if chunk.finish_reason is not None:
                        end = chunk
                        continue
                    text += chunk.text
                    if form.is_plain and self._enforces(form):
                        is_passed_on = True
                        yield chunk
            spent += end.usage or Usage()
            end = end._replace(usage=spent, enforced=self._enforces(form))
            try:
                whole = read_text(text, constraint)
                if is_passed_on and whole != text.strip():
                    # What stands around it has gone out with it.
                    raise ConstraintError("There is text around it.")
            except ConstraintError as error:
                if end.finish_reason is not FinishReason.STOP and not isinstance(constraint, Choice):
                    # It was cut off, and says so.
                    whole = text
                elif is_passed_on or attempt == tries:
                    raise self._wrong_form(constraint, error) from None
                else:
                    said = [*messages, Message("assistant", text), Message("user", REPAIR.format(reason=error))]
                    continue
            if not is_passed_on and whole:
                yield ModelChunk(whole)
            yield end
            return

    def _enforces(self, form: Form) -> bool:
        return form.is_enforced and "response_format" not in self._refused

    def _wrong_form(self, constraint: Constraint, error: ConstraintError) -> ModelProtocolError:
        if isinstance(constraint, Choice):
            options = ", ".join(constraint.options)
            return ModelProtocolError(f"{self._what} had to choose one of {options}, and wrote something else.")
        return ModelProtocolError(f"{self._what} did not write the form that was asked for. {error}")

    async def _written(
        self,
        messages: Sequence[Message],
        form: Form,
        *,
        options: ModelOptions,
        max_tokens: int,
    ) -> AsyncGenerator[ModelChunk, None]:
        """What the server writes, as it comes."""
        request = Request(fields_of(messages, form), options, max_tokens, form.extra)
        has_tools = "tools" in request.fields
        reason, usage, written = "", Usage(), 0
        with openai_faults(self._what, ModelUnavailableError):
            upstream = await self._open_in_time(request)
            # A plain break out of the stream would leave the upstream running, and billed.
            async with aclosing(upstream), aclosing(self._unless_idle(upstream)) as pieces:
                async for piece in pieces:
                    written += len(piece.text) + len(piece.calls)
                    if piece.calls and not has_tools:
                        raise ModelProtocolError(f"{self._what} called a tool, but was given none.")
                    if piece.text or piece.calls:
                        yield ModelChunk(piece.text, piece.calls)
                    reason = piece.finish_reason or reason
                    usage = piece.usage or usage
        if not reason:
            # Every known client takes such a stream for a complete answer; it is a broken one.
            raise ModelUnavailableError(f"{self._what} broke off its answer. Try again in a moment.")
        finish_reason = self._finish_reason(reason, has_tools=has_tools)
        if not written and finish_reason is FinishReason.STOP and not options.stop:
            raise ModelUnavailableError(f"{self._what} wrote nothing. Try again in a moment.")
        yield ModelChunk(usage=usage, finish_reason=finish_reason, model=self.name)

    @property
    def _what(self) -> str:
        return f"The language model {self.name!r}"

    async def _unless_idle(self, upstream: ChatStream) -> AsyncGenerator[Piece, None]:
        """The pieces that say something. Raises ModelUnavailableError when none has come for a while.

        Neither comments nor empty chunks, which servers send to keep a connection open, count as coming.
        """
        chunks, limit = aiter(upstream), IdleLimit(self._idle_timeout_seconds)
        try:
            while True:
                with limit:
                    while not (piece := read_piece(await anext(chunks))).is_alive:
                        pass
                limit.reset()
                yield piece
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise self._idle() from None
        finally:
            limit.close()

    def _finish_reason(self, reason: str, *, has_tools: bool) -> FinishReason:
        allowed = {FinishReason.STOP, FinishReason.LENGTH, FinishReason.CONTENT_FILTER}
        if has_tools:
            allowed.add(FinishReason.TOOL_CALLS)
        if reason not in allowed:
            raise ModelProtocolError(f"{self._what} ended with the finish reason {reason!r}, which nobody asked for.")
        return FinishReason(reason)

    async def _open_in_time(self, request: Request) -> ChatStream:
        """The stream, once its head has come. Raises what a model that says nothing raises, and RefusedError."""
        try:
            async with asyncio.timeout(self._idle_timeout_seconds):
                return await self._open(request)
        except TimeoutError:
            raise self._idle() from None

    def _idle(self) -> ModelUnavailableError:
        return ModelUnavailableError(
            f"{self._what} has written nothing for {self._idle_timeout_seconds:g} seconds. Try again in a moment."
        )

    async def _open(self, request: Request) -> ChatStream:
        tried: set[tuple[str, frozenset[str]]] = set()
        while True:
            sent = self._form
            tried.add(sent)
            try:
                upstream = await self._openai.chat(self._body(request))
            except StatusError as error:
                if error.status not in REFUSALS:
                    raise
                # Another call may have learned it meanwhile.
                if sent == self._form:
                    self._learn(error, request)
                if self._form in tried:
                    # What the server says of it is for its owner.
                    logger.warning("%s refused a request: %s", self._what, error)
                    raise RefusedError(
                        f"{self._what} refused the request (status {error.status}). Ask for less, or otherwise; its log "
                        "here has the reason."
                    ) from error
            else:
                self._known_limit_field = sent[0]
                return upstream

    @property
    def _form(self) -> tuple[str, frozenset[str]]:
        """How requests are worded now, by what this server has refused."""
        return self._limit_field, frozenset(self._refused)

    def _learn(self, refusal: StatusError, request: Request) -> None:
        """What the refusal names is sent under another name, or left out, from now on.

        Raises UnsupportedParameterError when it names what the caller asked for.
        """
        if not self._known_limit_field and names_field(refusal, self._limit_field):
            # The limit has an older name and a newer one.
            self._limit_field = "max_tokens" if self._limit_field != "max_tokens" else "max_completion_tokens"
            return
        for name in request.options.given() if not request.options.preferences else ():
            if names_field(refusal, name):
                raise UnsupportedParameterError(
                    f"{self._what} does not take this {name}. Leave it out, or give another value.", param=name
                )
        # The prompt of a constrained call says what is asked for, too, and what comes is checked.
        self._refused |= {name for name in request.droppable if names_field(refusal, name)}

    def _body(self, request: Request) -> dict[str, Any]:
        """What is sent."""
        dropped = self._refused & request.droppable
        sent = {name: value for name, value in request.all_fields().items() if name not in dropped}
        return {"model": self.name, **sent, self._limit_field: request.max_tokens, **request.extra}


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
    async with open_openai(
        api_key=api_key, base_url=base_url, dialect=dialect, retries=retries, read_timeout_seconds=idle_timeout_seconds
    ) as openai:
        yield OpenAIModel(openai, model=model, dialect=dialect, idle_timeout_seconds=idle_timeout_seconds)
