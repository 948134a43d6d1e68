"""Chat models behind OpenAI's Chat Completions API: OpenAI, Azure, Bedrock, vLLM, Ollama, LiteLLM and others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from headrace.errors import ModelUnavailableError
from headrace.openai_client import LazyOpenAI, open_openai, openai_faults
from headrace.types import ChatRequest, ModelChunk, Usage

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream
    from openai.types.chat import ChatCompletionChunk

# Why a model may stop before its answer is whole.
PARTIAL = frozenset({"length", "content_filter"})


class OpenAIModel:
    """A ChatModel on `/chat/completions`, streaming."""

    is_extractive = False

    def __init__(self, openai: LazyOpenAI, *, model: str) -> None:
        self._openai = openai
        self._limit_field = "max_completion_tokens"
        self.name = model

    async def check(self) -> None:
        client = await self._openai.client()
        with openai_faults(self._what, ModelUnavailableError):
            await client.models.list()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ModelChunk, None]:
        reason = ""
        usage = Usage()
        wrote = False
        client = await self._openai.client()
        with openai_faults(self._what, ModelUnavailableError):
            upstream = await self._open(client, request)
            # A plain break out of the stream would leave the upstream running, and billed.
            async with aclosing(cast("Any", upstream)):
                async for chunk in upstream:
                    for choice in chunk.choices[:1]:
                        if choice.delta.content:
                            wrote = True
                            yield ModelChunk(text=choice.delta.content)
                        reason = choice.finish_reason or reason
                    if chunk.usage:
                        usage = Usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        if not reason:
            # Every known client takes such a stream for a complete answer; it is a broken one.
            raise ModelUnavailableError(f"{self._what} broke off its answer. Try again in a moment.")
        if not wrote:
            raise ModelUnavailableError(
                f"{self._what} wrote nothing ({reason}). Raise ANSWER_MAX_TOKENS, or ask otherwise."
            )
        yield ModelChunk(usage=usage, finish_reason=reason if reason in PARTIAL else "stop")

    @property
    def _what(self) -> str:
        return f"The language model {self.name!r}"

    async def _open(self, client: AsyncOpenAI, request: ChatRequest) -> AsyncStream[ChatCompletionChunk]:
        from openai import BadRequestError

        try:
            return await self._create(client, request)
        except BadRequestError as error:
            # Older servers know the limit as max_tokens. Learn it once.
            if self._limit_field not in str(error) or self._limit_field == "max_tokens":
                raise
            self._limit_field = "max_tokens"
            return await self._create(client, request)

    async def _create(self, client: AsyncOpenAI, request: ChatRequest) -> AsyncStream[ChatCompletionChunk]:
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        return await client.chat.completions.create(
            model=self.name,
            messages=cast("Any", messages),
            stream=True,
            stream_options={"include_usage": True},
            extra_body={self._limit_field: request.max_tokens},
        )


@asynccontextmanager
async def open_openai_model(
    *, api_key: str, base_url: str, model: str, provider: str = "openai"
) -> AsyncIterator[OpenAIModel]:
    """The model; makes no connection before its first call."""
    async with open_openai(api_key=api_key, base_url=base_url, provider=provider) as openai:
        yield OpenAIModel(openai, model=model)
