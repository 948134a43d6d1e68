"""OpenAI's API over one pooled aiohttp session. A token costs a line that is split off and a JSON value that is read.

Reference: https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

import asyncio
import base64
import random
import sys
from array import array
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson

from headrace.clients.event_stream import EventReader
from headrace.clients.openai_api import CONNECT_TIMEOUT_SECONDS, BrokenAnswerError, NoAnswerError, StatusError
from headrace.concurrency.retries import read_retry_after

T = TypeVar("T")

CONNECTIONS = 1000
KEEP_ALIVE_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 8.0
# A server that asks for more than that is not waited for: whoever asked has gone by then.
LONGEST_ASKED_SECONDS = 60.0
# Behind `[DONE]` comes the end of the body, at once; a connection that has seen it serves the next call.
END_SECONDS = 0.05
FAULTS = (aiohttp.ClientError, OSError, TimeoutError)


class HttpOpenAI:
    """An OpenAI on aiohttp."""

    def __init__(self, *, api_key: str, base_url: str, retries: int, read_timeout_seconds: float) -> None:
        self._base_url = base_url.rstrip("/")
        # Many local servers need no key; an empty one would be a header that some of them refuse.
        self._headers = {
            "Authorization": f"Bearer {api_key or 'none'}",
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        self._retries = retries
        self._read_timeout_seconds = read_timeout_seconds
        self._opened: aiohttp.ClientSession | None = None

    @property
    def base_url(self) -> str:
        return self._base_url

    async def models(self) -> set[str]:
        value = await self._with_retries(lambda: self._whole("GET", "/models", None))
        return {str(model["id"]) for model in _list(value)}

    async def chat(self, body: Mapping[str, Any]) -> _Stream:
        content = orjson.dumps({**body, "stream": True})
        return _Stream(await self._with_retries(lambda: self._send("POST", "/chat/completions", content)))

    async def embed(self, model: str, texts: Sequence[str]) -> list[Sequence[float]]:
        # Packed, a vector is a third as long. A server that does not know the field sends numbers.
        body = orjson.dumps({"model": model, "input": list(texts), "encoding_format": "base64"})
        value = await self._with_retries(lambda: self._whole("POST", "/embeddings", body))
        try:
            return [_vector(item["embedding"]) for item in sorted(_list(value), key=lambda item: int(item["index"]))]
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenAnswerError(str(error)) from error

    async def aclose(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            await self._opened.close()

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE_SECONDS)
            # How long a stream is idle, its reader knows; a timer here would be set anew at each token.
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS)
            self._opened = aiohttp.ClientSession(
                headers=self._headers, connector=connector, timeout=timeout, proxy=_proxy_of(self._base_url)
            )
        return self._opened

    async def _send(self, method: str, path: str, content: bytes | None) -> aiohttp.ClientResponse:
        """The response, whose head has come. Raises StatusError and NoAnswerError."""
        try:
            async with asyncio.timeout(self._read_timeout_seconds):
                response = await self._session().request(method, self._base_url + path, data=content)
                if response.status < 400:
                    return response
                text = await response.text(errors="replace")
        except FAULTS as error:
            raise NoAnswerError(type(error).__name__) from error
        raise _refusal(response, text)

    async def _whole(self, method: str, path: str, content: bytes | None) -> Any:
        """The response's JSON value."""
        response = await self._send(method, path, content)
        try:
            async with asyncio.timeout(self._read_timeout_seconds):
                return orjson.loads(await response.read())
        except FAULTS as error:
            raise NoAnswerError(type(error).__name__) from error
        except ValueError as error:
            raise BrokenAnswerError("The response is no JSON.") from error
        finally:
            response.release()

    async def _with_retries(self, call: Callable[[], Awaitable[T]]) -> T:
        for attempt in range(self._retries):
            try:
                return await call()
            except NoAnswerError:
                # A connection that was kept may be closed by now, which says nothing of the server.
                await asyncio.sleep(_pause(attempt - 1, None) if attempt else 0)
            except StatusError as error:
                if not error.try_again:
                    raise
                await asyncio.sleep(_pause(attempt, error.retry_after_seconds))
        return await call()


class _Stream:
    """A ChatStream on one response."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncGenerator[Mapping[str, Any], None]:
        reader, content = EventReader(), self._response.content
        try:
            async for block in content.iter_any():
                for data in reader.feed(block):
                    if data == b"[DONE]":
                        with suppress(TimeoutError):
                            async with asyncio.timeout(END_SECONDS):
                                await content.readany()
                        return
                    yield _chunk(data)
        except FAULTS as error:
            raise BrokenAnswerError(type(error).__name__) from error

    async def aclose(self) -> None:
        self._response.close()


def _proxy_of(url: str) -> str | None:
    """The proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name for the URL.

    Asked once: the session itself would ask at each request, in two threads, and look for a netrc file besides.
    """
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


def _chunk(data: bytes) -> Mapping[str, Any]:
    try:
        value = orjson.loads(data)
    except ValueError as error:
        raise BrokenAnswerError("An event is no JSON.") from error
    if not isinstance(value, dict) or value.get("error"):
        raise BrokenAnswerError(str(value)[:200])
    return value


def _refusal(response: aiohttp.ClientResponse, text: str) -> StatusError:
    """What a refusal says, in OpenAI's form or another."""
    said: Any = {}
    with suppress(ValueError):
        said = orjson.loads(text)
    said = said.get("error", said) if isinstance(said, dict) else {}
    param = said.get("param") if isinstance(said, dict) else None
    milliseconds = read_retry_after(response.headers.get("retry-after-ms"))
    seconds = read_retry_after(response.headers.get("retry-after"))
    return StatusError(
        response.status,
        f"Error code: {response.status} - {said or text}",
        param=param if isinstance(param, str) else None,
        retry_after_seconds=seconds if milliseconds is None else milliseconds / 1000,
        try_again={"true": True, "false": False}.get(response.headers.get("x-should-retry", "")),
    )


def _list(value: Any) -> list[Any]:
    found = value.get("data") if isinstance(value, dict) else None
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise BrokenAnswerError("The response has no list of data.")
    return found


def _vector(value: str | Sequence[float]) -> Sequence[float]:
    if not isinstance(value, str):
        return value
    numbers = array("f", base64.b64decode(value))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def _pause(attempt: int, asked_seconds: float | None) -> float:
    if asked_seconds is not None and 0 < asked_seconds <= LONGEST_ASKED_SECONDS:
        return asked_seconds
    return min(FIRST_PAUSE_SECONDS * 2**attempt, LONGEST_PAUSE_SECONDS) * random.uniform(0.75, 1.0)  # noqa: S311 - jitter, no secret
