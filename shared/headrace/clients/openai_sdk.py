"""OpenAI's API through the official client, for Amazon Bedrock, whose requests it signs. Its import takes half a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Literal

from headrace.clients.openai_api import (
    CONNECT_TIMEOUT_SECONDS,
    BrokenAnswerError,
    NoAnswerError,
    OpenAI,
    StatusError,
)
from headrace.concurrency.retries import read_retry_after
from headrace.errors import ConfigurationError

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream
    from openai.types.chat import ChatCompletionChunk


class SdkOpenAI:
    """An OpenAI on the official client, which is made by `make`, in a thread, at the first call."""

    def __init__(self, make: Callable[[], AsyncOpenAI], *, base_url: str) -> None:
        self._make = make
        self._client: AsyncOpenAI | None = None
        self._making = asyncio.Lock()
        self._base_url = base_url

    @property
    def base_url(self) -> str:
        return self._base_url if self._client is None else str(self._client.base_url)

    async def models(self) -> set[str]:
        client = await self._made()
        with _faults():
            return {model.id async for model in client.models.list()}

    async def chat(self, body: Mapping[str, Any]) -> _SdkStream:
        client = await self._made()
        given = dict(body)
        with _faults():
            stream: AsyncStream[ChatCompletionChunk] = await client.chat.completions.create(
                model=given.pop("model"), messages=given.pop("messages"), stream=True, extra_body=given
            )
        return _SdkStream(stream)

    async def embed(self, model: str, texts: Sequence[str]) -> list[Sequence[float]]:
        client = await self._made()
        with _faults():
            answer = await client.embeddings.create(model=model, input=list(texts))
        return [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    async def _made(self) -> AsyncOpenAI:
        async with self._making:
            if self._client is None:
                self._client = await asyncio.to_thread(self._make)
        return self._client


class _SdkStream:
    """A ChatStream on the official client's stream."""

    def __init__(self, stream: AsyncStream[ChatCompletionChunk]) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncGenerator[Mapping[str, Any], None]:
        with _faults():
            async for chunk in self._stream:
                yield chunk.to_dict()

    async def aclose(self) -> None:
        await self._stream.close()


@contextmanager
def _faults() -> Iterator[None]:
    from openai import APIConnectionError, APIError, APIStatusError

    try:
        yield
    except APIStatusError as error:
        seconds = read_retry_after(error.response.headers.get("retry-after"))
        param = error.param if isinstance(error.param, str) else None
        raise StatusError(error.status_code, error.message, param=param, retry_after_seconds=seconds) from error
    except APIConnectionError as error:
        raise NoAnswerError(type(error).__name__) from error
    except (APIError, ValueError) as error:
        # A ValueError is the client's own word for a stream that is no JSON.
        raise BrokenAnswerError(str(error)) from error


@asynccontextmanager
async def open_bedrock(*, base_url: str, retries: int, read_timeout_seconds: float) -> AsyncIterator[OpenAI]:
    """A client for Amazon Bedrock, signed with the function's own role, in its own region; no key at all."""

    def make() -> AsyncOpenAI:
        from openai import NOT_GIVEN, AsyncOpenAI, OpenAIError, Timeout
        from openai.providers import bedrock

        # The client would choose `mantle`, where some models do not speak Chat Completions.
        endpoint: Literal["mantle", "runtime"] = "mantle" if "bedrock-mantle" in base_url else "runtime"
        timeout = Timeout(read_timeout_seconds, connect=CONNECT_TIMEOUT_SECONDS)
        try:
            amazon = bedrock(endpoint=endpoint, base_url=base_url or NOT_GIVEN)
            return _named(AsyncOpenAI(provider=amazon, timeout=timeout, max_retries=retries))
        except OpenAIError as error:
            raise ConfigurationError(f"Amazon Bedrock can't be used: {error}") from error

    client = SdkOpenAI(make, base_url=base_url)
    try:
        yield client
    finally:
        await client.aclose()


def _named(client: AsyncOpenAI) -> AsyncOpenAI:
    """The client with its resources, each of which it imports when it is first named: here, in a thread."""
    _ = (client.chat.completions, client.embeddings, client.models)
    return client
