"""A vendor's JSON API over one pooled aiohttp session: deadlines, jittered retries, and its faults in our words.

Lean on purpose: the vendors' own clients cost several times as much at a cold start and at each query
(tests/bench/stores.py measures both).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from headrace.concurrency.retries import ATTEMPTS, WRITE_DEADLINE_SECONDS, read_retry_after, with_retries
from headrace.errors import ConfigurationError, HeadraceError, UnavailableError

CONNECTIONS = 100
# What is said of the content that was sent; any other refusal is said of whoever sent it.
CONTENT_REFUSED = frozenset({400, 413, 415, 422})
JSON_HEADERS = {"Content-Type": "application/json"}
# From method, URL and content of a request to all of its headers: how APIs are called that want requests signed.
Sign = Callable[[str, str, bytes], Awaitable[Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class Api:
    """How to speak of an API: its name at the start of a sentence, the setting of its key, and what is raised for it.

    `passes` tells of a refusal (status and text) that another try may cure, `refusal` makes a fault of what is refused
    for good.
    """

    what: str
    key_setting: str
    unavailable: type[UnavailableError]
    passes: Callable[[int, str], bool] = lambda _status, _text: False
    refusal: type[HeadraceError] = ConfigurationError


@dataclass(frozen=True, slots=True)
class JsonReply:
    """A reply's value, headers and status; no value where the status was an allowed refusal."""

    value: Any
    headers: Mapping[str, str]
    status: int


class JsonApi:
    """Calls below one base URL, on a session that stays the opener's to close."""

    def __init__(self, session: aiohttp.ClientSession, url: str, api: Api, sign: Sign | None = None) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._api = api
        self._sign = sign

    def at(self, url: str) -> JsonApi:
        """The same API at another base URL, over the same connections."""
        return JsonApi(self._session, url, self._api, self._sign)

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        params: Sequence[tuple[str, str]] = (),
        allow: frozenset[int] = frozenset(),
        deadline_seconds: float = WRITE_DEADLINE_SECONDS,
    ) -> JsonReply:
        """The reply; a status in `allow` comes without a value, any other refusal is raised in our words."""
        # A question's vector stands in a body several times: orjson writes floats ten times as fast as json.
        content = None if body is None else orjson.dumps(body)

        async def send() -> aiohttp.ClientResponse:
            url = self._url + path
            headers: Mapping[str, str] | None = None if content is None else JSON_HEADERS
            if self._sign is not None:
                headers = await self._sign(method, url, content or b"")
            return await self._session.request(method, url, data=content, params=params, headers=headers)

        return await self._with_retries(send, allow, deadline_seconds)

    async def upload(self, path: Path, *, name: str, fields: Mapping[str, str], deadline_seconds: float) -> JsonReply:
        """POST a file as the part `files` of a form, with other fields beside it."""

        async def send() -> aiohttp.ClientResponse:
            form = aiohttp.FormData(fields)
            # The session reads and closes it; a try begins at its beginning.
            form.add_field("files", path.open("rb"), filename=name)
            return await self._session.post(self._url, data=form)

        return await self._with_retries(send, frozenset(), deadline_seconds)

    async def _with_retries(
        self, send: Callable[[], Awaitable[aiohttp.ClientResponse]], allow: frozenset[int], deadline_seconds: float
    ) -> JsonReply:
        api = self._api

        async def once() -> JsonReply:
            try:
                async with await send() as response:
                    answer = await response.read()
                if response.status < 400:
                    return JsonReply(orjson.loads(answer) if answer else None, response.headers, response.status)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise api.unavailable(f"{api.what} does not answer ({type(error).__name__}).") from error
            if response.status in allow:
                return JsonReply(None, response.headers, response.status)
            text = answer.decode(errors="replace")
            raise _fault(api, response.status, text, response.headers.get("Retry-After"))

        return await with_retries(
            once,
            attempts=ATTEMPTS,
            deadline_seconds=deadline_seconds,
            on_timeout=lambda: api.unavailable(
                f"{api.what} did not answer within {deadline_seconds:g} seconds. Try again in a moment."
            ),
        )


@asynccontextmanager
async def open_json_api(
    url: str, api: Api, *, headers: Mapping[str, str], sign: Sign | None = None
) -> AsyncIterator[JsonApi]:
    """The API at `url`. Connects at its first call, closes its connections at the end."""
    connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=60)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        yield JsonApi(session, url, api, sign)


def _fault(api: Api, status: int, text: str, retry_after: str | None) -> HeadraceError:
    if status in {401, 403}:
        return ConfigurationError(f"{api.what} refused the key (status {status}). Check {api.key_setting}.")
    if status in {408, 429} or status >= 500 or api.passes(status, text):
        seconds = read_retry_after(retry_after)
        return api.unavailable(f"{api.what} answered with status {status}.", retry_after_seconds=seconds)
    refusal = api.refusal if status in CONTENT_REFUSED else ConfigurationError
    return refusal(f"{api.what} refused a request (status {status}): {text[:200]}")
