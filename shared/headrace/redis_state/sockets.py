"""Who is behind the connections of a WebSocket API, in Redis or Valkey."""

from __future__ import annotations

import json
from dataclasses import replace

from redis.asyncio import Redis

from headrace.clients.redis import registry_use
from headrace.redis_state.layout import socket_key
from headrace.types import Principal, read_principal

# API Gateway closes a connection after two hours.
KEPT_SECONDS = 2 * 3600 + 60
SOCKETS = "The list of open connections (Redis)"


class RedisSocketRegistry:
    """A SocketRegistry on a Redis client, which stays the caller's to close."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def save(self, connection_id: str, principal: Principal) -> None:
        who = {"id": principal.id, "session": principal.session, **principal.describe()}
        async with registry_use(what=SOCKETS):
            await self._client.set(socket_key(connection_id), json.dumps(who), ex=KEPT_SECONDS)

    async def find(self, connection_id: str) -> Principal | None:
        async with registry_use(what=SOCKETS):
            found = await self._client.get(socket_key(connection_id))
        if found is None:
            return None
        who = json.loads(found)
        return replace(read_principal(who, id=who["id"]), session=who["session"])

    async def delete(self, connection_id: str) -> None:
        async with registry_use(what=SOCKETS):
            await self._client.delete(socket_key(connection_id))
