"""WebSockets: `/ws` of this process, and the events of an API Gateway WebSocket API, which keeps its connections itself."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import Response
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocketDisconnect

from functions.chat.dependencies import ChatDependencies, Deadline, Dependencies, Sockets
from functions.chat.door import credentials_of, is_socket_event, who_asks
from functions.chat.faults import error_response
from functions.chat.socket import Socket
from headrace.errors import AbandonedError, HeadraceError, UnauthenticatedError
from headrace.types import Principal

# The subprotocol that a client may name; beside it, `bearer.<key or token>` stands for a header that browsers can't set.
SUBPROTOCOL = "headrace"
# Who asks is found out when a connection is opened: it is opened anew after as long as API Gateway's last.
LONGEST_SECONDS = 2 * 3600.0


def add_socket_routes(app: FastAPI) -> None:
    """`/ws`, and what the streaming runtime makes of API Gateway's events."""
    _add_own_socket(app)
    _add_event_routes(app)


def _add_own_socket(app: FastAPI) -> None:
    @app.websocket("/ws")
    async def socket(websocket: WebSocket) -> None:
        """Questions in, events out (docs/websocket.md)."""
        deps: ChatDependencies = websocket.app.state.dependencies
        try:
            asker = await who_asks(deps, credentials_of(websocket.scope))
        except Exception as error:  # noqa: BLE001 - each fault is an answer
            await websocket.send_denial_response(error_response(error))
            return
        await websocket.accept(_chosen(websocket.headers.get("sec-websocket-protocol", "")))

        async def send(frame: str) -> None:
            try:
                await websocket.send_text(frame)
            except (WebSocketDisconnect, RuntimeError, OSError) as error:
                raise AbandonedError("The connection is closed.") from error

        opened = Socket(asker, deps, send, deadline_seconds=deps.deadline_seconds)
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                while True:
                    await opened.receive(await websocket.receive_text())
        except TimeoutError:
            await websocket.close(1001, "Open another connection.")
        except (WebSocketDisconnect, KeyError):
            # It has left, or sends bytes where text was asked for.
            return
        finally:
            await opened.aclose()


def _add_event_routes(app: FastAPI) -> None:
    @app.post("/ws/connect", include_in_schema=False)
    async def connect(request: Request, deps: Dependencies) -> Response:
        connection_id, sockets = _connection(request, deps)
        await sockets.registry.save(connection_id, await who_asks(deps, credentials_of(request.scope)))
        chosen = _chosen(request.headers.get("sec-websocket-protocol", ""))
        return Response(headers={"Sec-WebSocket-Protocol": chosen} if chosen else {})

    @app.post("/ws/message", include_in_schema=False)
    async def message(request: Request, deps: Dependencies, deadline_seconds: Deadline) -> Response:
        """Answered at once: API Gateway waits 29 seconds at most. The answer itself goes to the connection afterwards."""
        connection_id, sockets = _connection(request, deps)
        frame = (await request.body()).decode()
        send = partial(sockets.sender.send, sockets.endpoint or _endpoint(request), connection_id)

        async def answer() -> None:
            # API Gateway hands no fault of this call on: each is said over the connection.
            fault, asker = None, None
            try:
                asker = await sockets.registry.find(connection_id)
            except HeadraceError as error:
                fault = error
            if asker is None:
                fault = fault or UnauthenticatedError(
                    "It is not known any more who opened this connection. Open another."
                )
            opened = Socket(asker or Principal(), deps, send, deadline_seconds=deadline_seconds)
            try:
                if fault is not None:
                    await opened.tell(fault, frame)
                else:
                    await opened.receive(frame)
                await opened.drain()
            finally:
                await opened.aclose()

        return Response(background=BackgroundTask(answer))

    @app.post("/ws/disconnect", include_in_schema=False)
    async def disconnect(request: Request, deps: Dependencies) -> Response:
        connection_id, sockets = _connection(request, deps)
        await sockets.registry.delete(connection_id)
        return Response()


def _connection(request: Request, deps: ChatDependencies) -> tuple[str, Sockets]:
    """The connection that an event is of. Raises HTTPException for a request that is no event."""
    if not is_socket_event(request.scope) or deps.sockets is None:
        raise HTTPException(404, "Not Found")
    return str(_context(request)["connectionId"]), deps.sockets


def _endpoint(request: Request) -> str:
    context = _context(request)
    return f"https://{context['domainName']}/{context['stage']}"


def _context(request: Request) -> dict[str, Any]:
    context: dict[str, Any] = request.scope["aws.event"]["requestContext"]
    return context


def _chosen(offered: str) -> str | None:
    return SUBPROTOCOL if SUBPROTOCOL in (name.strip() for name in offered.split(",")) else None
