"""Conversations in Redis or Valkey: one list of turns each, trimmed and expiring; and each principal's conversations by age."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from headrace.clients.redis import registry_use
from headrace.redis_state.layout import conversation_key, conversations_key, titles_key
from headrace.redis_state.scripts import script
from headrace.types import MAX_TURNS, Conversation, Message, Principal

MAX_CONVERSATIONS = 200
MAX_TITLE_CHARACTERS = 120
# Of the turns before a question, no more are read.
LAST_TURNS = 40
# An answer that was on its way when its conversation was forgotten does not bring it back; none takes longer than this.
GONE_SECONDS = 900
# An answer that is made waits so long for its turn to be remembered, and a question for the turns before it.
TIMEOUT_SECONDS = 0.5
CONVERSATIONS = "The memory of conversations (Redis)"


class RedisConversations:
    """Conversations on a Redis client, which stays the caller's to close."""

    def __init__(self, client: Redis, *, ttl_seconds: int) -> None:
        self._client = client
        self._ttl_seconds = ttl_seconds
        self._append = script(client, "append_turns")
        self._delete = script(client, "delete_conversation")

    async def check(self) -> None:
        async with registry_use(what=CONVERSATIONS):
            await self._client.ping()

    async def history(self, principal: Principal, conversation_id: str, *, last: int = LAST_TURNS) -> list[Message]:
        async with registry_use(TIMEOUT_SECONDS, CONVERSATIONS):
            turns = await self._client.lrange(_key(principal, conversation_id), -last, -1)
        return [Message(**json.loads(turn)) for turn in turns]

    async def append(
        self, principal: Principal, conversation_id: str, messages: Sequence[Message], *, listed: bool = True
    ) -> None:
        turns = [json.dumps({"role": m.role, "content": m.content}, ensure_ascii=False) for m in messages]
        title = next((_title(message.content) for message in messages if message.role == "user"), "")
        name, now = conversation_id if listed else "", int(time.time())
        args: list[str | int] = [MAX_TURNS, self._ttl_seconds, MAX_CONVERSATIONS, name, title, now, *turns]
        async with registry_use(TIMEOUT_SECONDS, CONVERSATIONS):
            key = _key(principal, conversation_id)
            await self._append(keys=[key, *_lists(principal), f"{key}:gone"], args=args)

    async def all(self, principal: Principal) -> list[Conversation]:
        names, titles = _lists(principal)
        oldest = time.time() - self._ttl_seconds
        async with registry_use(what=CONVERSATIONS):
            found: Any = await self._client.zrevrangebyscore(names, "+inf", oldest, withscores=True)
            shown = await self._client.hgetall(titles)
        told = {_text(name): _text(title) for name, title in shown.items()}
        return [Conversation(_text(name), told.get(_text(name), ""), float(at)) for name, at in found]

    async def rename(self, principal: Principal, conversation_id: str, title: str) -> bool:
        names, titles = _lists(principal)
        async with registry_use(what=CONVERSATIONS):
            if await self._client.zscore(names, conversation_id) is None:
                return False
            await self._client.hset(titles, conversation_id, _title(title))
        return True

    async def delete(self, principal: Principal, conversation_id: str) -> bool:
        names, titles = _lists(principal)
        async with registry_use(what=CONVERSATIONS):
            keys = [_key(principal, conversation_id), names, titles]
            return bool(await self._delete(keys=[*keys, f"{keys[0]}:gone"], args=[conversation_id, GONE_SECONDS]))


def _key(principal: Principal, conversation_id: str) -> str:
    return conversation_key(principal.tenant, principal.owner, conversation_id)


def _lists(principal: Principal) -> tuple[str, str]:
    return conversations_key(principal.tenant, principal.owner), titles_key(principal.tenant, principal.owner)


def _title(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_TITLE_CHARACTERS else f"{line[: MAX_TITLE_CHARACTERS - 1].rstrip()}…"


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
