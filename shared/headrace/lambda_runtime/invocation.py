"""One invocation: the application's ASGI messages to a streamed response, with every way of failing said honestly."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from headrace.lambda_runtime.api import RuntimeApi, RuntimeApiError, StreamedResponse, WholeResponse
from headrace.lambda_runtime.context import InvocationContext
from headrace.lambda_runtime.events import Scope
from headrace.lambda_runtime.lifespan import App, Message

# Lambda reads the prelude and its delimiter from the first 16 KB.
MAX_PRELUDE_BYTES = 16 * 1024 - 8
DELIMITER = bytes(8)
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html
MAX_RESPONSE_BYTES = 200 * 1024 * 1024
HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
SSE_FLUSH = b":\n\n"
REPORT_SECONDS = 0.3

logger = logging.getLogger(__name__)


class ResponseError(Exception):
    """The application's response can't be sent; `kind` is Lambda's error type."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class ResponseOptions:
    """How responses are sent.

    `flush_sse` follows each event of a `text/event-stream` with a tiny comment,
    because function URLs may hold a small chunk until the next one.
    `fill_empty` gives an empty body one byte, because some doors wait for one.
    `yields` lets other streams run after each piece.
    `whole` collects the response, for a door that takes no stream.
    """

    flush_sse: bool = False
    fill_empty: bool = False
    yields: bool = False
    whole: bool = False
    max_response_bytes: int = MAX_RESPONSE_BYTES


class Invocation:
    """Runs the application for one request, and streams what it sends."""

    def __init__(self, api: RuntimeApi, context: InvocationContext, options: ResponseOptions) -> None:
        self._api = api
        self._context = context
        self._options = options
        self._echo = {"Lambda-Runtime-Invocation-Id": context.invocation_id} if context.invocation_id else {}
        self._response: StreamedResponse | WholeResponse | None = None
        self._begun = False
        self._ended = asyncio.Event()
        self._without_body = False
        self._is_sse = False
        self._sent_bytes = 0
        self._body: bytes | None = None

    async def run(self, app: App, scope: Scope, body: bytes, *, grace_seconds: float) -> None:
        """Drive the application to its end, background tasks included; never raises for what the application does.

        It is cancelled `grace_seconds` before Lambda's deadline. Raises RuntimeApiError.
        """
        self._body = body
        self._without_body = scope["method"] == "HEAD"
        seconds = self._context.get_remaining_time_in_millis() / 1000 - grace_seconds
        try:
            async with asyncio.timeout(max(seconds, 0.0)) as deadline:
                await app(scope, self._receive, self._send)
            await self._check_complete()
        except ResponseError as error:
            logger.error("%s", error)  # noqa: TRY400 - the message is all there is to say
            await self.fail(error.kind, str(error))
        except asyncio.CancelledError:
            await self.fail("Runtime.Shutdown", "The environment was shut down before the response was complete.")
            raise
        except RuntimeApiError:
            raise
        except Exception as error:
            if deadline.expired():
                logger.warning("the application did not finish before the function's deadline")
                message = "The application did not finish before the function's deadline."
                await self.fail("Runtime.DeadlineExceeded", message)
            else:
                logger.exception("the application failed")
                await self.fail(type(error).__name__, "The application failed; its log says why.")
        finally:
            if self._response is not None:
                await self._response.abandon()

    async def fail(self, kind: str, message: str) -> None:
        """Report a failure: before the response began as an error, after it in the trailers, after its end not at all."""
        if not self._begun:
            await self._api.invocation_error(self._context.aws_request_id, kind, message, self._echo)
        elif not self._ended.is_set():
            self._ended.set()
            response, self._response = self._response, None
            assert response is not None  # noqa: S101 - begun and not ended
            try:
                # A reader that has stalled may never take the trailers: then the cut stream is the report.
                async with asyncio.timeout(REPORT_SECONDS):
                    await response.fail(kind, message)
            except (RuntimeApiError, TimeoutError) as error:
                logger.warning("the failure could not be reported (%s): %s", type(error).__name__, error)

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._ended.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        match message["type"]:
            case "http.response.start":
                await self._start(message["status"], message.get("headers", ()))
            case "http.response.body":
                await self._piece(bytes(message.get("body", b"")), more=message.get("more_body", False))
            case other:
                raise ResponseError(
                    "Runtime.BadMessage", f"The application sent {other!r}, which this door has no use for."
                )

    async def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        if self._begun:
            raise ResponseError("Runtime.BadMessage", "The application began its response twice.")
        headers = list(headers)
        prelude = _prelude(status, headers)
        if len(prelude) > MAX_PRELUDE_BYTES:
            raise ResponseError(
                "Runtime.HeadersTooLarge", "The response's headers exceed Lambda's 16 KB. Send fewer or shorter ones."
            )
        self._without_body = self._without_body or status in {204, 304} or 100 <= status < 200
        self._is_sse = any(n.lower() == b"content-type" and v.startswith(b"text/event-stream") for n, v in headers)
        request_id = self._context.aws_request_id
        try:
            self._response = (
                WholeResponse(self._api, request_id, self._echo)
                if self._options.whole
                else await self._api.open_response(request_id, self._echo)
            )
        except OSError as error:
            raise RuntimeApiError(f"no connection for the response ({type(error).__name__})") from error
        self._begun = True
        self._response.begin(prelude, DELIMITER)

    async def _piece(self, body: bytes, *, more: bool) -> None:
        if self._ended.is_set() and self._begun:
            raise ResponseError("Runtime.BadMessage", "The application went on after the end of its response.")
        if self._response is None:
            raise ResponseError("Runtime.BadMessage", "The application sent a body before it began its response.")
        pieces = self._pieces(body) if body and not self._without_body else ()
        if not more:
            await self._end(self._response, pieces)
        elif pieces:
            await self._response.write(*pieces)
            if self._options.yields:
                await asyncio.sleep(0)

    def _pieces(self, body: bytes) -> tuple[bytes, ...]:
        self._sent_bytes += len(body)
        if self._sent_bytes > self._options.max_response_bytes:
            limit = self._options.max_response_bytes
            raise ResponseError("Runtime.ResponseTooLarge", f"The response exceeds Lambda's limit of {limit:,} bytes.")
        flush = self._options.flush_sse and self._is_sse and body.endswith(b"\n\n")
        return (body, SSE_FLUSH) if flush else (body,)

    async def _end(self, response: StreamedResponse | WholeResponse, pieces: tuple[bytes, ...]) -> None:
        self._response = None
        self._ended.set()
        filler = (b"\n",) if self._sent_bytes == 0 and self._options.fill_empty else ()
        await response.end(*pieces, *filler)

    async def _check_complete(self) -> None:
        if not self._begun:
            raise ResponseError("Runtime.NoResponse", "The application returned without a response.")
        if not self._ended.is_set():
            raise ResponseError(
                "Runtime.IncompleteResponse", "The application returned before its response was complete."
            )


def _prelude(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The JSON before the body: status, headers (several of one name joined), and cookies apart."""
    joined: dict[str, str] = {}
    cookies = []
    for raw_name, raw_value in headers:
        name, value = bytes(raw_name).lower(), bytes(raw_value).decode("latin-1")
        if name == b"set-cookie":
            cookies.append(value)
        elif name not in HOP_BY_HOP:
            key = name.decode("latin-1")
            joined[key] = f"{joined[key]}, {value}" if key in joined else value
    prelude: Mapping[str, Any] = {"statusCode": status, "headers": joined, "cookies": cookies}
    return json.dumps(prelude, separators=(",", ":")).encode("ascii")
