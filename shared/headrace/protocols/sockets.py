"""The seams of a WebSocket API, which keeps the connections itself and calls a function for each message."""

from __future__ import annotations

from typing import Protocol

from headrace.types import Principal


class SocketRegistry(Protocol):
    """Remembers who is behind each connection. Raises RegistryUnavailableError."""

    async def save(self, connection_id: str, principal: Principal) -> None:
        """Remember who opened the connection, for as long as one may last."""

    async def find(self, connection_id: str) -> Principal | None:
        """Who opened it; None for a connection that was never let in, or is closed."""

    async def delete(self, connection_id: str) -> None:
        """Forget it."""


class SocketSender(Protocol):
    """Sends to connections that something else keeps."""

    async def send(self, endpoint: str, connection_id: str, text: str) -> None:
        """Send one frame through the API at this address. Raises AbandonedError when the connection is closed."""
