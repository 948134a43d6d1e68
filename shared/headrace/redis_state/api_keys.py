"""API keys in Redis or Valkey: one hash of records, by id."""

from __future__ import annotations

from redis.asyncio import Redis

from headrace.clients.redis import registry_use
from headrace.types import ApiKey, read_api_key

API_KEYS = "headrace:api-keys"
API_KEYS_STORE = "The store of API keys (Redis)"


class RedisApiKeys:
    """An ApiKeys on a Redis client, which stays the caller's to close."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def find(self, key_id: str) -> ApiKey | None:
        async with registry_use(what=API_KEYS_STORE):
            record = await self._client.hget(API_KEYS, key_id)
        return read_api_key(_text(record)) if record else None

    async def save(self, key: ApiKey) -> None:
        async with registry_use(what=API_KEYS_STORE):
            await self._client.hset(API_KEYS, key.id, key.to_json())

    async def revoke(self, key_id: str) -> bool:
        async with registry_use(what=API_KEYS_STORE):
            return bool(await self._client.hdel(API_KEYS, key_id))

    async def all(self) -> list[ApiKey]:
        async with registry_use(what=API_KEYS_STORE):
            records = await self._client.hgetall(API_KEYS)
        keys = [read_api_key(_text(record)) for record in records.values()]
        return sorted(keys, key=lambda key: (key.created_at, key.id))


def _text(record: bytes | str) -> str:
    return record.decode() if isinstance(record, bytes) else record
