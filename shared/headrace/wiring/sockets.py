"""Wiring of what sends to the connections of a WebSocket API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.protocols import SocketSender


@asynccontextmanager
async def open_socket_sender() -> AsyncIterator[SocketSender]:
    """API Gateway's connections; nothing is loaded before the first is sent to."""
    from headrace.sockets.api_gateway import open_api_gateway_sender

    async with open_api_gateway_sender() as sender:
        yield sender
