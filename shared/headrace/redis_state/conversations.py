"""Conversations in Redis or Valkey: one list of turns each, trimmed and expiring."""

from __future__ import annotations

import json
from collections.abc import Sequence

from redis.asyncio import Redis

from headrace.clients.redis import registry_use
from headrace.redis_state.layout import conversation_key
from headrace.redis_state.scripts import script
from headrace.types import Message, Principal

MAX_TURNS = 20
# An answer that is made waits so long for its turn to be remembered, and a question for the turns before it.
TIMEOUT_SECONDS = 0.5
CONVERSATIONS = "The memory of conversations (Redis)"


class RedisConversations:
    """Conversations on a Redis client, which stays the caller's to close."""

    def __init__(self, client: Redis, *, ttl_seconds: int) -> None:
        self._client = client
        self._ttl_seconds = ttl_seconds
        self._append = script(client, "append_turns")

    async def check(self) -> None:
        async with registry_use(TIMEOUT_SECONDS, CONVERSATIONS):
            await self._client.ping()

    async def history(self, principal: Principal, conversation_id: str) -> list[Message]:
        async with registry_use(TIMEOUT_SECONDS, CONVERSATIONS):
            turns = await self._client.lrange(conversation_key(principal.tenant, principal.id, conversation_id), 0, -1)
        return [Message(**json.loads(turn)) for turn in turns]

    async def append(self, principal: Principal, conversation_id: str, messages: Sequence[Message]) -> None:
        key = conversation_key(principal.tenant, principal.id, conversation_id)
        turns = [json.dumps({"role": m.role, "content": m.content}) for m in messages]
        async with registry_use(TIMEOUT_SECONDS, CONVERSATIONS):
            await self._append(keys=[key], args=[MAX_TURNS, self._ttl_seconds, *turns])
