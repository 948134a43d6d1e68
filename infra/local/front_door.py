"""A function URL on localhost: HTTP in, a Lambda event through the Runtime API, and the response streamed back.

    python -m infra.local.front_door functions.chat.main.app --port 8000

Reference: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from headrace.auth.loopback import check_local
from headrace.errors import ForbiddenError
from infra.local.lambda_function import LocalFunction, end_with_function, running_function
from infra.local.websocket_api import PREFIX, Event, WebSocketApi

TIMEOUT_SECONDS = 300.0
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
DELIMITER = bytes(8)
# Whoever reaches this door has what a signature would show on AWS.
IDENTITY = {"accountId": "000000000000", "userArn": "arn:aws:iam::000000000000:user/local"}


async def function_url_event(request: Request) -> dict[str, object]:
    """The event that a function URL makes of a request: payload format 2.0."""
    body = await request.body()
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    cookies = headers.pop("cookie", "")
    path = request.scope["raw_path"].decode("ascii")
    client = request.client.host if request.client else ""
    event: dict[str, object] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": request.scope["query_string"].decode("latin-1"),
        "headers": {**headers, "x-forwarded-proto": "http", "x-forwarded-for": client},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "local",
            "authorizer": {"iam": IDENTITY},
            "domainName": headers.get("host", "localhost"),
            "http": {"method": request.method, "path": path, "protocol": "HTTP/1.1", "sourceIp": client,
                     "userAgent": headers.get("user-agent", "")},
            "requestId": request.headers.get("x-request-id", "local"),
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": int(time.time() * 1000),
        },
        "isBase64Encoded": True,
        "body": base64.b64encode(body).decode("ascii"),
    }  # fmt: skip
    if cookies:
        event["cookies"] = cookies.split("; ")
    return event


async def answer(request: Request, function: LocalFunction) -> Response:
    """Invoke the function and stream what it answers, a chunk as it comes."""
    chunks: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
    reading = True

    async def sink(chunk: bytes) -> None:
        # Like Lambda: when the client has left, the function runs on, and nobody reads.
        if reading:
            await chunks.put(chunk)

    outcome = function.api.invoke(await function_url_event(request), timeout_seconds=TIMEOUT_SECONDS, sink=sink)
    ending = asyncio.create_task(outcome.done.wait())
    ending.add_done_callback(lambda _: asyncio.ensure_future(chunks.put(None)))
    head = b""
    while DELIMITER not in head:
        chunk = await chunks.get()
        if chunk is None:
            # What Lambda answers when a function fails before its response.
            return JSONResponse({"Message": "Internal Server Error"}, status_code=502)
        head += chunk
    prelude_bytes, _, first = head.partition(DELIMITER)
    prelude = json.loads(prelude_bytes)

    async def body() -> AsyncIterator[bytes]:
        nonlocal reading
        try:
            if first:
                yield first
            while (chunk := await chunks.get()) is not None:
                yield chunk
        finally:
            reading = False
            if not chunks.empty():
                chunks.get_nowait()
        if outcome.cut or outcome.trailers:
            raise ConnectionAbortedError("the function failed after its response had begun")

    response = StreamingResponse(body(), status_code=prelude["statusCode"], headers=prelude["headers"])
    for cookie in prelude["cookies"]:
        response.headers.append("set-cookie", cookie)
    return response


def create_door(handler: str, *, port: int = 0, on_death: Callable[[], None] = lambda: None) -> Starlette:
    """The door's application; the function starts with it and ends with it. It answers at `port`, with a WebSocket at `/ws`."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        environ = {**os.environ, "WEBSOCKET_API_URL": f"http://127.0.0.1:{port}{PREFIX}"}
        async with running_function("chat", handler, environ, streaming=True, on_death=on_death) as function:
            app.state.function = function
            yield

    async def invoke(event: Event) -> Mapping[str, Any]:
        function: LocalFunction = app.state.function
        answer: Mapping[str, Any] = await function.invoke(event, timeout_seconds=TIMEOUT_SECONDS)
        return answer

    async def endpoint(request: Request) -> Response:
        try:
            check_local(request.headers.get("host", ""), request.headers.get("origin", ""))
        except ForbiddenError as error:
            return JSONResponse({"Message": str(error)}, status_code=403)
        return await answer(request, request.app.state.function)

    sockets = WebSocketApi(invoke, identity=IDENTITY)
    app = Starlette(routes=[*sockets.routes, Route("/{path:path}", endpoint, methods=METHODS)], lifespan=lifespan)
    return app


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("handler", help="module.name of an ASGI application")
    parser.add_argument("--port", type=int, default=8000, help="port on 127.0.0.1 (default 8000)")
    given = parser.parse_args()
    uvicorn.run(
        create_door(given.handler, port=given.port, on_death=end_with_function),
        host="127.0.0.1",
        port=given.port,
        log_level="warning",
        timeout_graceful_shutdown=3,
        ws="websockets-sansio",
    )


if __name__ == "__main__":
    main()
