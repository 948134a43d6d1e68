"""The document registry in Redis or Valkey.

Three hashes and a counter a tenant, in one slot: `documents` (key → record),
`generations` (key → what searches may return), `attempts` (key → the number of
the newest attempt) and `revision`. Writes are Lua scripts, so that the fence,
the record and the flip are one step.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection

from redis.asyncio import Redis

from headrace.errors import SupersededError
from headrace.redis_client import registry_faults, tenant_key
from headrace.types import Document, DocumentKey, DocumentState

TENANTS = "headrace:tenants"

# Numbers are microseconds since the epoch, or one more than the last: they rise even when the registry was lost.
NEXT = """
local function next_number(key)
  local now = redis.call('TIME')
  local number = math.max(now[1] * 1000000 + now[2], tonumber(redis.call('GET', key) or 0) + 1)
  redis.call('SET', key, string.format('%.0f', number))
  return string.format('%.0f', number)
end
"""

# KEYS attempts, newest attempt; ARGV document key.
BEGIN = (
    NEXT
    + """
local attempt = next_number(KEYS[2])
redis.call('HSET', KEYS[1], ARGV[1], attempt)
return attempt
"""
)

# KEYS attempts, documents, generations, revision; ARGV document key, attempt, record ('' removes it), generation ('' for none).
SAVE = (
    NEXT
    + """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
local old = redis.call('HGET', KEYS[3], ARGV[1]) or ''
if ARGV[4] == '' then redis.call('HDEL', KEYS[3], ARGV[1])
else redis.call('HSET', KEYS[3], ARGV[1], ARGV[4]) end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[1], ARGV[1])
else redis.call('HSET', KEYS[2], ARGV[1], ARGV[3]) end
if old ~= ARGV[4] then next_number(KEYS[4]) end
return 1
"""
)


class RedisRegistry:
    """A DocumentRegistry on a Redis client, which stays the caller's to close."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._begin = client.register_script(BEGIN)
        self._save = client.register_script(SAVE)

    async def check(self) -> None:
        with registry_faults():
            await self._client.ping()

    async def begin(self, key: DocumentKey) -> int:
        tenant = key.tenant
        with registry_faults():
            await self._client.sadd(TENANTS, tenant)
            keys = [tenant_key(tenant, "attempts"), tenant_key(tenant, "attempt")]
            return int(await self._begin(keys=keys, args=[key.key]))

    async def save(self, document: Document, *, attempt: int) -> None:
        record = json.dumps(dataclasses.asdict(document), separators=(",", ":"))
        generation = "" if document.generation is None else str(document.generation)
        await self._write(DocumentKey(document.key), attempt, record, generation)

    async def remove(self, key: DocumentKey, *, attempt: int) -> None:
        await self._write(key, attempt, "", "")

    async def _write(self, key: DocumentKey, attempt: int, record: str, generation: str) -> None:
        keys = [tenant_key(key.tenant, part) for part in ("attempts", "documents", "generations", "revision")]
        with registry_faults():
            written = await self._save(keys=keys, args=[key.key, attempt, record, generation])
        if not written:
            raise SupersededError(f"A newer attempt at {key.key!r} has begun; this one stops.")

    async def get(self, key: DocumentKey) -> Document | None:
        with registry_faults():
            record = await self._client.hget(tenant_key(key.tenant, "documents"), key.key)
        return _document(record) if record else None

    async def documents(self, tenant: str) -> list[Document]:
        with registry_faults():
            records = await self._client.hvals(tenant_key(tenant, "documents"))
        return sorted((_document(record) for record in records), key=lambda document: document.key)

    async def generations(self, tenant: str, keys: Collection[str]) -> dict[str, int]:
        wanted = list(keys)
        if not wanted:
            return {}
        with registry_faults():
            found = await self._client.hmget(tenant_key(tenant, "generations"), wanted)
        return {key: int(generation) for key, generation in zip(wanted, found, strict=True) if generation}

    async def revision(self, tenant: str) -> int:
        with registry_faults():
            return int(await self._client.get(tenant_key(tenant, "revision")) or 0)

    async def tenants(self) -> list[str]:
        with registry_faults():
            return sorted(_text(name) for name in await self._client.smembers(TENANTS))


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _document(record: bytes | str) -> Document:
    fields = json.loads(record)
    return Document(**{**fields, "state": DocumentState(fields["state"])})
