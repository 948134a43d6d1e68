"""API Gateway's WebSocket API on localhost: a real socket, an event for each of its steps, and the address to post frames to.

References: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-overview.html,
https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-how-to-call-websocket-api-connections.html
"""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from headrace.auth.loopback import check_local
from headrace.errors import ForbiddenError

# The quota of a message, in either direction.
MOST_BYTES = 128 * 1024
PREFIX = "/_websocket"
RESPONSE_KEYS = {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}
Event = dict[str, Any]
Invoke = Callable[[Event], Coroutine[Any, Any, Mapping[str, Any]]]


class WebSocketApi:
    """`invoke` gives an event to the function, and gives its answer. `identity` is what a signature would show of the client."""

    def __init__(self, invoke: Invoke, *, identity: Mapping[str, str] | None = None) -> None:
        self._invoke = invoke
        self._identity = dict(identity or {})
        self._sockets: dict[str, WebSocket] = {}

    @property
    def routes(self) -> list[BaseRoute]:
        """`/ws` for clients, and the management API below PREFIX for the function."""
        path = f"{PREFIX}/@connections/{{connection_id:path}}"
        return [WebSocketRoute("/ws", self.serve), Route(path, self.manage, methods=["GET", "POST", "DELETE"])]

    async def serve(self, websocket: WebSocket) -> None:
        """One connection, from its handshake to its end."""
        try:
            check_local(websocket.headers.get("host", ""), websocket.headers.get("origin", ""))
        except ForbiddenError as error:
            await websocket.send_denial_response(JSONResponse({"message": str(error)}, status_code=403))
            return
        connection_id = base64.b64encode(uuid.uuid4().bytes[:11]).decode()
        headers: dict[str, list[str]] = {}
        for name, value in websocket.headers.items():
            headers.setdefault(name, []).append(value)
        connect = self._event("CONNECT", connection_id, websocket)
        connect |= {"headers": {name: values[-1] for name, values in headers.items()}, "multiValueHeaders": headers}
        answer = await self._invoke(connect)
        # What else is in a response makes it one that API Gateway can't read.
        if answer.keys() - RESPONSE_KEYS:
            answer = {"statusCode": 502}
        if answer.get("statusCode") != 200:
            await websocket.send_denial_response(Response(status_code=int(answer.get("statusCode", 502))))
            return
        chosen = {name.lower(): value for name, value in answer.get("headers", {}).items()}
        await websocket.accept(chosen.get("sec-websocket-protocol"))
        self._sockets[connection_id] = websocket
        messages: set[asyncio.Task[Any]] = set()
        try:
            while len(text := await websocket.receive_text()) <= MOST_BYTES:
                event = self._event("MESSAGE", connection_id, websocket) | {"body": text}
                messages.add(asyncio.create_task(self._invoke(event)))
            await websocket.close(1009)
        except WebSocketDisconnect:
            pass
        finally:
            self._sockets.pop(connection_id, None)
            await asyncio.gather(*messages, return_exceptions=True)
            await self._invoke(self._event("DISCONNECT", connection_id, websocket))

    async def manage(self, request: Request) -> Response:
        """Post a frame to a connection, ask whether it is there, or close it."""
        websocket = self._sockets.get(request.path_params["connection_id"])
        if websocket is None:
            return JSONResponse({"message": None}, status_code=410, headers={"x-amzn-ErrorType": "GoneException"})
        if request.method == "GET":
            return JSONResponse({"identity": {"sourceIp": "127.0.0.1", "userAgent": ""}})
        if request.method == "DELETE":
            await websocket.close()
            return Response(status_code=204)
        data = await request.body()
        if len(data) > MOST_BYTES:
            error = {"x-amzn-ErrorType": "PayloadTooLargeException"}
            return JSONResponse({"message": "too large"}, status_code=413, headers=error)
        await websocket.send_text(data.decode())
        return Response()

    def _event(self, step: str, connection_id: str, websocket: WebSocket) -> Event:
        route = {"CONNECT": "$connect", "MESSAGE": "$default", "DISCONNECT": "$disconnect"}[step]
        client = websocket.client.host if websocket.client else ""
        return {
            "requestContext": {
                "routeKey": route, "eventType": step, "connectionId": connection_id, "stage": "local", "apiId": "local",
                "domainName": websocket.headers.get("host", "localhost"), "requestId": str(uuid.uuid4()),
                "messageDirection": "IN", "connectedAt": int(time.time() * 1000), "requestTimeEpoch": int(time.time() * 1000),
                "identity": {"sourceIp": client, **self._identity},
            },
            "isBase64Encoded": False,
        }  # fmt: skip
