"""The official OpenAI client, opened lazily (its import takes half a second), and its faults in our words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Literal

from headrace.clients.dialects import Dialect
from headrace.concurrency.retries import read_retry_after
from headrace.errors import ConfigurationError, HeadraceError, RefusedError, UnavailableError

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

CONNECT_TIMEOUT_SECONDS = 5.0
READ_TIMEOUT_SECONDS = 60.0
OPENAI_URL = "https://api.openai.com/v1"
RETRIES = 2


class LazyOpenAI:
    """The client, imported and made at its first use: health checks, cache hits and keyless mode don't pay for it."""

    def __init__(
        self, *, api_key: str, base_url: str, dialect: Dialect, retries: int, read_timeout_seconds: float
    ) -> None:
        self._api_key = api_key
        self._base_url = base_url
        self._dialect = dialect
        self._retries = retries
        self._read_timeout_seconds = read_timeout_seconds
        self._client: AsyncOpenAI | None = None
        self._making = asyncio.Lock()

    async def client(self) -> AsyncOpenAI:
        """The one client; the first call imports and makes it in a thread, so that the loop goes on."""
        async with self._making:
            if self._client is None:
                self._client = await asyncio.to_thread(self._make)
        return self._client

    def _make(self) -> AsyncOpenAI:
        from openai import NOT_GIVEN, AsyncOpenAI, OpenAIError, Timeout

        timeout = Timeout(self._read_timeout_seconds, connect=CONNECT_TIMEOUT_SECONDS)
        if self._dialect.signs:
            from openai.providers import bedrock

            # The client would choose `mantle`, where some models do not speak Chat Completions.
            endpoint: Literal["mantle", "runtime"] = "mantle" if "bedrock-mantle" in self._base_url else "runtime"
            try:
                # Signed with the function's own role, in its own region; no key at all.
                amazon = bedrock(endpoint=endpoint, base_url=self._base_url or NOT_GIVEN)
                client = AsyncOpenAI(provider=amazon, timeout=timeout, max_retries=self._retries)
            except OpenAIError as error:
                raise ConfigurationError(f"Amazon Bedrock can't be used: {error}") from error
        else:
            client = AsyncOpenAI(
                api_key=self._api_key or "none",  # an empty key raises, and many local servers need none
                base_url=self._base_url or OPENAI_URL,  # without one, the client would take the environment's
                timeout=timeout,
                max_retries=self._retries,
            )
        # The client imports each resource when it is first named: name here what will be used.
        _ = (client.chat.completions, client.embeddings, client.models)
        return client

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.close()


@asynccontextmanager
async def open_openai(
    *,
    api_key: str,
    base_url: str,
    dialect: Dialect,
    retries: int = RETRIES,
    read_timeout_seconds: float = READ_TIMEOUT_SECONDS,
) -> AsyncIterator[LazyOpenAI]:
    """A lazy client for OpenAI, or for any server that speaks a dialect of its API; closes at the end.

    What fails in passing is tried again, `retries` times, after what the server asks for in `Retry-After`, or a short pause.
    """
    lazy = LazyOpenAI(
        api_key=api_key, base_url=base_url, dialect=dialect, retries=retries, read_timeout_seconds=read_timeout_seconds
    )
    try:
        yield lazy
    finally:
        await lazy.aclose()


@contextmanager
def openai_faults(what: str, unavailable: type[UnavailableError]) -> Iterator[None]:
    """Turn the client's faults into ours. `what` is the thing that failed: "The language model 'x'"."""
    from openai import APIConnectionError, APIError, APIStatusError

    try:
        yield
    except APIStatusError as error:
        raise _status_fault(what, error, unavailable) from error
    except APIConnectionError as error:
        raise unavailable(f"{what} does not answer ({type(error).__name__}). Try again in a moment.") from error
    except (APIError, ValueError) as error:
        # A ValueError is the client's own word for a stream that is no JSON.
        raise unavailable(f"{what} broke off its answer. Try again in a moment.") from error


def _status_fault(what: str, error: APIStatusError, unavailable: type[UnavailableError]) -> HeadraceError:
    status = error.status_code
    if status in {401, 403}:
        return ConfigurationError(
            f"{what} refused the key (status {status}). Check OPENAI_API_KEY, or a fallback model's FALLBACK_API_KEY."
        )
    if status == 404:
        return ConfigurationError(
            f"{what} is not known to the server (status 404). Check its name and OPENAI_BASE_URL."
        )
    if status in {408, 409, 429} or status >= 500:
        reason = "is over its rate limit" if status == 429 else f"failed with status {status}"
        seconds = read_retry_after(error.response.headers.get("retry-after"))
        return unavailable(f"{what} {reason}. Try again in a moment.", retry_after_seconds=seconds)
    return RefusedError(f"{what} refused the request with status {status}: {_first_line(error.message)}")


def _first_line(text: str) -> str:
    return text.splitlines()[0][:200] if text else ""
