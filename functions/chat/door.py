"""The one door of the application: every request is known, counted and bounded before a route sees it.

In this order: is there room, who asks, may they ask so much, is the body fit to be read. Open to everybody are `/healthz` and
the static page; a WebSocket lets in each of its messages by itself. Every response carries the headers that keep browsers from doing with it what nobody meant.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions.chat.admission import let_in
from functions.chat.faults import error_response
from functions.chat.visit import VISIT
from functions.chat.wire.paths import OPEN_PATHS
from headrace.errors import InvalidInputError, TooLargeError, UnauthenticatedError
from headrace.types import Credentials, Principal

if TYPE_CHECKING:
    from functions.chat.dependencies import ChatDependencies

BEARER_SUBPROTOCOL = "bearer."
MOST_BODY_BYTES = 2 * 1024 * 1024
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Door:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        reply = _Reply(send)
        try:
            if _is_open(scope) or is_socket_event(scope):
                await self._app(scope, receive, reply)
            else:
                await self._serve(scope, receive, reply)
        except Exception as error:
            if reply.has_begun:
                raise
            await error_response(error)(scope, receive, reply)

    async def _serve(self, scope: Scope, receive: Receive, reply: _Reply) -> None:
        """Let the request in. Raises HeadraceError when it is not let in."""
        deps: ChatDependencies = scope["app"].state.dependencies

        async def identify() -> Principal:
            return await who_asks(deps, credentials_of(scope))

        is_lambda = scope.get("aws.context") is not None
        parent = Headers(scope=scope).get("traceparent", "") if deps.tracer is not None else ""
        async with let_in(
            deps, identify, is_new=not _goes_on(scope), is_lambda=is_lambda, trace_parent=parent
        ) as visit:
            reply.headers |= visit.headers
            body = await _read_body(receive, Headers(scope=scope))
            await self._app({**scope, VISIT: visit}, _with_body(body, receive), reply)


async def who_asks(deps: ChatDependencies, credentials: Credentials) -> Principal:
    """The principal. Raises UnauthenticatedError."""
    principal = await deps.authenticator.authenticate(credentials)
    if principal is None:
        raise UnauthenticatedError(f"This request does not say who asks. {deps.authenticator.challenge}")
    return principal


class _Reply:
    """Sends a response with the door's headers, where it has none of its own by these names."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.headers = dict(HEADERS)
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            given = MutableHeaders(raw=list(message["headers"]))
            for name, value in self.headers.items():
                given.setdefault(name, value)
            message = {**message, "headers": given.raw}
        await self._send(message)


def credentials_of(scope: Scope) -> Credentials:
    """What a request shows of who sent it; of a header that comes twice, the first."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    # Browsers can't set headers of a WebSocket's handshake; they can name subprotocols.
    is_handshake = scope["type"] == "websocket" or is_socket_event(scope)
    for offered in headers.get("sec-websocket-protocol", "").split(",") if is_handshake else ():
        if offered.strip().startswith(BEARER_SUBPROTOCOL):
            headers.setdefault("authorization", f"Bearer {offered.strip().removeprefix(BEARER_SUBPROTOCOL)}")
    context = (scope.get("aws.event") or {}).get("requestContext") or {}
    # Payload 2.0 (function URLs, HTTP APIs), then 1.0 (REST APIs).
    iam = (context.get("authorizer") or {}).get("iam") or context.get("identity") or {}
    client = scope.get("client")
    return Credentials(headers, iam, client[0] if client else "")


def is_socket_event(scope: Scope) -> bool:
    """Whether the request is an event of a WebSocket API, of which only the first shows who is there."""
    return "connectionId" in ((scope.get("aws.event") or {}).get("requestContext") or {})


def _goes_on(scope: Scope) -> bool:
    """Whether a request goes on with a run that there is, or stops it."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    resumes = path == "/chat" and any(name == b"last-event-id" for name, _ in scope["headers"])
    return resumes or path.startswith("/runs/")


def _is_open(scope: Scope) -> bool:
    return scope["method"] in {"GET", "HEAD"} and scope["path"].removeprefix(scope.get("root_path", "")) in OPEN_PATHS


async def _read_body(receive: Receive, headers: Headers) -> bytes:
    """The whole body. Raises TooLargeError, and InvalidInputError for text that is none."""
    too_large = TooLargeError(f"The request's body has more than {MOST_BODY_BYTES:,} bytes. Send less.")
    announced = headers.get("content-length", "")
    if announced.isdigit() and (len(announced) > len(str(MOST_BODY_BYTES)) or int(announced) > MOST_BODY_BYTES):
        raise too_large
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise InvalidInputError("The connection was closed before the whole body had come.")
        body += message.get("body", b"")
        if len(body) > MOST_BODY_BYTES:
            raise too_large
        if not message.get("more_body"):
            break
    _check_unicode(bytes(body))
    return bytes(body)


def _check_unicode(body: bytes) -> None:
    """Raise InvalidInputError for half a surrogate pair, which JSON lets through and no other encoding does."""
    if b"\\ud" not in body.lower():
        return
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidInputError("The request has half of a surrogate pair, which is no character.") from None
    except (ValueError, RecursionError):
        # No JSON: the route says so.
        return


def _with_body(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body, which has been read, and then what comes after it."""
    is_given = False

    async def given() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return given
