"""The document registry in Redis or Valkey.

One hash a tenant, so that it is lost or kept as a whole, and read at one moment. Its fields: `epoch`, `attempt` (the
newest number), `revision`, `mark`, `model`, and three a document: `r:<key>` (its record), `c:<key>` (what searches may
show: generation and groups) and `a:<key>` (the number of its newest attempt). Writes are Lua scripts, so that the
fence, the record, the flip and what it means for cached answers are one step; headrace.cache_layout has the fields of
the cache.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Collection

from redis.asyncio import Redis

from headrace.cache_layout import DROP, current_value, entry_key, ledger_keys, partition_key, registry_key
from headrace.errors import IndexMismatchError, SupersededError
from headrace.redis_client import registry_faults
from headrace.types import Attempt, Clearance, Document, DocumentKey, DocumentState, Standing, Step

TENANTS = "headrace:tenants"
RECORDS_PAGE = 1000
HEAD = ("epoch", "attempt", "mark", "model")

# Numbers are microseconds since the epoch, or one more than the last: they rise even when the registry was lost.
NEXT = """
local function next_number(field)
  local now = redis.call('TIME')
  local number = math.max(now[1] * 1000000 + now[2], tonumber(redis.call('HGET', KEYS[1], field) or 0) + 1)
  redis.call('HSET', KEYS[1], field, string.format('%.0f', number))
  return string.format('%.0f', number)
end
"""

# ARGV document key, embedding model. Answers with the model that the tenant is indexed with, when it is another.
BEGIN = (
    NEXT
    + """
redis.call('HSETNX', KEYS[1], 'model', ARGV[2])
local model = redis.call('HGET', KEYS[1], 'model')
if model ~= ARGV[2] then return model end
local attempt = next_number('attempt')
redis.call('HSET', KEYS[1], 'a:' .. ARGV[1], attempt)
return tonumber(attempt)
"""
)

# ARGV document key, attempt, record ('' removes it), what is current ('' for nothing), mark, embedding model, number of
# answers that the clearance is for ('' for none), ids of doomed answers. KEYS registry, the cache's three, and two for
# each doomed answer: its entry and its partition. 2: answers have come in that the clearance knows nothing of.
SAVE = (
    NEXT
    + DROP
    + """
if redis.call('HGET', KEYS[1], 'a:' .. ARGV[1]) ~= ARGV[2] then
  -- A write whose reply was lost comes again, perhaps after a newer attempt has begun: it took effect.
  return ARGV[3] ~= '' and redis.call('HGET', KEYS[1], 'r:' .. ARGV[1]) == ARGV[3] and 1 or 0
end
local model = redis.call('HGET', KEYS[1], 'model')
if model ~= ARGV[6] then return model end
local old = redis.call('HGET', KEYS[1], 'c:' .. ARGV[1]) or ''
local comes = ARGV[4] ~= '' and old ~= ARGV[4]
if comes and ARGV[7] ~= '' and (redis.call('HGET', KEYS[1], 'answers') or '0') ~= ARGV[7] then return 2 end
if ARGV[4] == '' then redis.call('HDEL', KEYS[1], 'c:' .. ARGV[1])
else redis.call('HSET', KEYS[1], 'c:' .. ARGV[1], ARGV[4]) end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], 'r:' .. ARGV[1], 'a:' .. ARGV[1])
else redis.call('HSET', KEYS[1], 'r:' .. ARGV[1], ARGV[3]) end
if tonumber(ARGV[5]) > tonumber(redis.call('HGET', KEYS[1], 'mark') or 0) then
  redis.call('HSET', KEYS[1], 'mark', ARGV[5])
end
if old == ARGV[4] then return 1 end
local revision = next_number('revision')
-- What goes is known by the entries that rest on it; what comes might have been retrieved for any.
if comes and ARGV[7] == '' then redis.call('HSET', KEYS[1], 'holds_from', revision) end
for i = 8, #ARGV do
  local place = 5 + 2 * (i - 8)
  drop(KEYS[place], KEYS[place + 1], KEYS[2], KEYS[3], KEYS[4], ARGV[i], 'superseded')
end
return 1
"""
)

# ARGV embedding model, expected revision, mark in that model's collection.
SWITCH = (
    NEXT
    + """
if (redis.call('HGET', KEYS[1], 'revision') or '0') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'model', ARGV[1])
redis.call('HSET', KEYS[1], 'mark', ARGV[3])
redis.call('HSET', KEYS[1], 'holds_from', next_number('revision'))
return 1
"""
)


DISTRUST = (
    NEXT
    + """
redis.call('HDEL', KEYS[1], 'epoch')
redis.call('HSET', KEYS[1], 'holds_from', next_number('revision'))
return 1
"""
)


class RedisRegistry:
    """A DocumentRegistry on a Redis client, which stays the caller's to close."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._begin = client.register_script(BEGIN)
        self._save = client.register_script(SAVE)
        self._switch = client.register_script(SWITCH)
        self._distrust = client.register_script(DISTRUST)

    async def check(self) -> None:
        with registry_faults():
            await self._client.ping()

    async def begin(self, key: DocumentKey, *, embedding_model: str) -> Attempt:
        with registry_faults():
            await self._client.sadd(TENANTS, key.tenant)
            answer = await self._begin(keys=[registry_key(key.tenant)], args=[key.key, embedding_model])
        if not isinstance(answer, int):
            raise IndexMismatchError(key.tenant, indexed=_text(answer), configured=embedding_model)
        return Attempt(key, answer, embedding_model)

    async def save(
        self, document: Document, attempt: Attempt, *, mark: int = 0, clearance: Clearance | None = None
    ) -> bool:
        record = json.dumps(dataclasses.asdict(document), separators=(",", ":"))
        shown = "" if document.generation is None else current_value(document.generation, document.groups)
        return await self._write(attempt, record, shown, mark, clearance)

    async def remove(self, attempt: Attempt) -> None:
        await self._write(attempt, "", "", 0, None)

    async def _write(self, attempt: Attempt, record: str, shown: str, mark: int, clearance: Clearance | None) -> bool:
        document, tenant = attempt.key.key, attempt.key.tenant
        keys = [registry_key(tenant), *ledger_keys(tenant)]
        args: list[str | int] = [document, attempt.number, record, shown, mark, attempt.embedding_model]
        args.append("" if clearance is None else clearance.answers)
        for partition, entry in clearance.doomed if clearance is not None else ():
            keys += [entry_key(tenant, partition, entry), partition_key(tenant, partition)]
            args.append(entry)
        with registry_faults():
            written = await self._save(keys=keys, args=args)
        if written == 0:
            raise SupersededError(f"A newer attempt at {document!r} has begun; this one stops.")
        if written not in {1, 2}:
            raise IndexMismatchError(tenant, indexed=_text(written), configured=attempt.embedding_model)
        return bool(written == 1)

    async def get(self, key: DocumentKey) -> Document | None:
        with registry_faults():
            record = await self._client.hget(registry_key(key.tenant), f"r:{key.key}")
        return _document(record) if record else None

    async def documents(self, tenant: str) -> list[Document]:
        found: dict[str, Document] = {}
        with registry_faults():
            fields = self._client.hscan_iter(registry_key(tenant), match="r:*", count=RECORDS_PAGE)
            # A scan may show a field twice.
            async for field, record in fields:
                found[_text(field)] = _document(record)
        return [found[field] for field in sorted(found)]

    async def standing(self, tenant: str, keys: Collection[str] = ()) -> Standing:
        wanted = list(keys)
        with registry_faults():
            fields = [*HEAD, *(f"c:{key}" for key in wanted)]
            epoch, attempt, mark, model, *shown = await self._client.hmget(registry_key(tenant), fields)
        current = {key: json.loads(body) for key, body in zip(wanted, shown, strict=True) if body}
        return Standing(
            epoch=_text(epoch or ""),
            newest_attempt=int(attempt or 0),
            mark=int(mark or 0),
            embedding_model=_text(model or ""),
            current={key: (generation, tuple(groups)) for key, (generation, groups) in current.items()},
        )

    async def open_epoch(self, tenant: str) -> None:
        with registry_faults():
            await self._client.sadd(TENANTS, tenant)
            await self._client.hsetnx(registry_key(tenant), "epoch", uuid.uuid4().hex)

    async def distrust(self, tenant: str) -> None:
        with registry_faults():
            await self._distrust(keys=[registry_key(tenant)])

    async def switch_model(self, tenant: str, embedding_model: str, *, revision: int, mark: int = 0) -> bool:
        with registry_faults():
            return bool(await self._switch(keys=[registry_key(tenant)], args=[embedding_model, revision, mark]))

    async def revision(self, tenant: str) -> int:
        with registry_faults():
            return int(await self._client.hget(registry_key(tenant), "revision") or 0)

    async def tenants(self) -> list[str]:
        with registry_faults():
            return sorted(_text(name) for name in await self._client.smembers(TENANTS))


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _document(record: bytes | str) -> Document:
    fields = json.loads(record)
    lists = {name: tuple(fields.get(name, ())) for name in ("groups", "tags")}
    history = tuple(Step(at, DocumentState(state), reason) for at, state, reason in fields.get("history", ()))
    return Document(**{**fields, **lists, "state": DocumentState(fields["state"]), "history": history})
