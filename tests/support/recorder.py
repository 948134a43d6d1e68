"""What went over the wire: an ASGI wrapper that keeps each request's and answer's JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Exchange:
    """One request and its answer."""

    method: str
    path: str
    request: Any
    status: int
    answer: Any


def recorded(app: Any, exchanges: list[Exchange]) -> Any:
    """The application, with its exchanges added to the list."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        sent: list[bytes] = []
        got: list[bytes] = []
        status = 0

        async def receiving() -> Any:
            message = await receive()
            got.append(message.get("body", b""))
            return message

        async def sending(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            sent.append(message.get("body", b""))
            await send(message)

        await app(scope, receiving, sending)
        request, answer = b"".join(got), b"".join(sent)
        exchanges.append(
            Exchange(
                scope["method"], scope["path"], json.loads(request) if request else None,
                status, json.loads(answer) if answer else None,
            )
        )  # fmt: skip

    return wrapped
