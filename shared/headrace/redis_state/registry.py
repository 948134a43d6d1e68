"""The document registry in Redis or Valkey.

One hash a tenant. Writes are Lua scripts, so that the fence, the record, the flip of the current version and the
invalidation of cached answers are one step; headrace.redis_state.layout has the fields.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Collection

from redis.asyncio import Redis

from headrace.clients.redis import WRITE_SECONDS, registry_use
from headrace.errors import IndexMismatchError, SupersededError
from headrace.redis_state.layout import accounts, current_value, entry_key, partition_key, registry_key
from headrace.redis_state.scripts import script
from headrace.types import Attempt, CacheInvalidation, Document, DocumentKey, DocumentState, RegistrySnapshot, Step

TENANTS = "headrace:tenants"
RECORDS_PAGE = 1000
HEAD = ("epoch", "attempt", "watermark", "model")


class RedisRegistry:
    """A DocumentRegistry on a Redis client, which stays the caller's to close."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._begin = script(client, "begin_attempt")
        self._save = script(client, "save_document")
        self._switch = script(client, "switch_model")
        self._distrust = script(client, "distrust")

    async def check(self) -> None:
        async with registry_use():
            await self._client.ping()

    async def begin(self, key: DocumentKey, *, embedding_model: str) -> Attempt:
        async with registry_use(WRITE_SECONDS):
            await self._client.sadd(TENANTS, key.tenant)
            answer = await self._begin(keys=[registry_key(key.tenant)], args=[key.key, embedding_model])
        if not isinstance(answer, int):
            raise IndexMismatchError(key.tenant, indexed=_text(answer), configured=embedding_model)
        return Attempt(key, answer, embedding_model)

    async def save(
        self, document: Document, attempt: Attempt, *, watermark: int = 0, invalidation: CacheInvalidation | None = None
    ) -> bool:
        record = json.dumps(dataclasses.asdict(document), separators=(",", ":"))
        shown = "" if document.generation is None else current_value(document.generation, document.groups)
        return await self._write(attempt, record, shown, watermark, invalidation)

    async def remove(self, attempt: Attempt) -> None:
        await self._write(attempt, "", "", 0, None)

    async def _write(
        self, attempt: Attempt, record: str, shown: str, watermark: int, invalidation: CacheInvalidation | None
    ) -> bool:
        document, tenant = attempt.key.key, attempt.key.tenant
        keys = [registry_key(tenant), *accounts(tenant)]
        args: list[str | int] = [document, attempt.number, record, shown, watermark, attempt.embedding_model]
        args.append("" if invalidation is None else invalidation.answers)
        for partition, entry in invalidation.entries if invalidation is not None else ():
            keys += [entry_key(tenant, partition, entry), partition_key(tenant, partition)]
            args.append(entry)
        async with registry_use(WRITE_SECONDS):
            written = await self._save(keys=keys, args=args)
        if written == 0:
            raise SupersededError(f"A newer attempt at {document!r} has begun; this one stops.")
        if written not in {1, 2}:
            raise IndexMismatchError(tenant, indexed=_text(written), configured=attempt.embedding_model)
        return bool(written == 1)

    async def get(self, key: DocumentKey) -> Document | None:
        async with registry_use():
            record = await self._client.hget(registry_key(key.tenant), f"r:{key.key}")
        return _document(record) if record else None

    async def documents(self, tenant: str) -> list[Document]:
        found: dict[str, Document] = {}
        async with registry_use(WRITE_SECONDS):
            fields = self._client.hscan_iter(registry_key(tenant), match="r:*", count=RECORDS_PAGE)
            # A scan may show a field twice.
            async for field, record in fields:
                found[_text(field)] = _document(record)
        return [found[field] for field in sorted(found)]

    async def snapshot(self, tenant: str, keys: Collection[str] = ()) -> RegistrySnapshot:
        wanted = list(keys)
        async with registry_use():
            fields = [*HEAD, *(f"c:{key}" for key in wanted)]
            epoch, attempt, watermark, model, *shown = await self._client.hmget(registry_key(tenant), fields)
        current = {key: json.loads(body) for key, body in zip(wanted, shown, strict=True) if body}
        return RegistrySnapshot(
            epoch=_text(epoch or ""),
            newest_attempt=int(attempt or 0),
            watermark=int(watermark or 0),
            embedding_model=_text(model or ""),
            current={key: (generation, tuple(groups)) for key, (generation, groups) in current.items()},
        )

    async def open_epoch(self, tenant: str) -> None:
        async with registry_use(WRITE_SECONDS):
            await self._client.sadd(TENANTS, tenant)
            await self._client.hsetnx(registry_key(tenant), "epoch", uuid.uuid4().hex)

    async def distrust(self, tenant: str) -> None:
        async with registry_use(WRITE_SECONDS):
            await self._distrust(keys=[registry_key(tenant)])

    async def switch_model(self, tenant: str, embedding_model: str, *, revision: int, watermark: int = 0) -> bool:
        async with registry_use(WRITE_SECONDS):
            return bool(await self._switch(keys=[registry_key(tenant)], args=[embedding_model, revision, watermark]))

    async def revision(self, tenant: str) -> int:
        async with registry_use():
            return int(await self._client.hget(registry_key(tenant), "revision") or 0)

    async def tenants(self) -> list[str]:
        async with registry_use(WRITE_SECONDS):
            return sorted(_text(name) for name in await self._client.smembers(TENANTS))


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _document(record: bytes | str) -> Document:
    fields = json.loads(record)
    lists = {name: tuple(fields.get(name, ())) for name in ("groups", "tags", "notes")}
    history = tuple(Step(at, DocumentState(state), reason) for at, state, reason in fields.get("history", ()))
    return Document(**{**fields, **lists, "state": DocumentState(fields["state"]), "history": history})
