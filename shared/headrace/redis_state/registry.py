"""The document registry in Redis or Valkey.

One hash a tenant. Writes are Lua scripts, so that the fence, the record, the flip of the current version and the
invalidation of cached answers are one step; headrace.redis_state.layout has the fields.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Collection, Sequence
from typing import Any

from redis.asyncio import Redis

from headrace.clients.redis import LONGEST_WAIT_SECONDS, READ_SECONDS, WRITE_SECONDS, registry_use
from headrace.errors import IndexMismatchError, RegistryUnavailableError, SupersededError
from headrace.redis_state.layout import (
    LABEL_JOINT,
    STATES,
    accounts,
    current_value,
    entry_key,
    index_keys,
    label_of,
    partition_key,
    registry_key,
)
from headrace.redis_state.scripts import script
from headrace.redis_state.streams import entries_of, position_of
from headrace.types import (
    Attempt,
    CacheInvalidation,
    Document,
    DocumentKey,
    DocumentPage,
    DocumentState,
    RegistrySnapshot,
    Step,
)

TENANTS = "headrace:tenants"
RECORDS_PAGE = 1000
INDEX_TRIES = 3
# Places in what `index_keys` gives: the stream of changes, and what stands before the states.
CHANGES, INDEX_HEAD = 2, 3
HEAD = ("epoch", "attempt", "watermark", "model")


class RedisRegistry:
    """A DocumentRegistry on Redis clients, which stay the caller's to close.

    Who waits for changes waits on a connection of the client for `listening`.
    """

    def __init__(self, client: Redis, listening: Redis | None = None) -> None:
        self._client = client
        self._listening = listening or client
        self._begin = script(client, "begin_attempt")
        self._save = script(client, "save_document")
        self._switch = script(client, "switch_model")
        self._distrust = script(client, "distrust")
        self._page = script(client, "page_documents")
        self._index = script(client, "index_documents")

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
        return await self._write(attempt, [record, label_of(document), shown, watermark], invalidation)

    async def remove(self, attempt: Attempt) -> None:
        await self._write(attempt, ["", "", "", 0], None)

    async def _write(
        self, attempt: Attempt, written: Sequence[str | int], invalidation: CacheInvalidation | None
    ) -> bool:
        """`written` are the record, its label, what searches may see, and the watermark."""
        document, tenant = attempt.key.key, attempt.key.tenant
        keys = [registry_key(tenant), *accounts(tenant), *index_keys(tenant)]
        args: list[str | int] = [document, attempt.number, *written, attempt.embedding_model]
        args.append("" if invalidation is None else invalidation.answers)
        for partition, entry in invalidation.entries if invalidation is not None else ():
            keys += [entry_key(tenant, partition, entry), partition_key(tenant, partition)]
            args.append(entry)
        async with registry_use(WRITE_SECONDS):
            said = await self._save(keys=keys, args=args)
        if said == 0:
            raise SupersededError(f"A newer attempt at {document!r} has begun; this one stops.")
        if said not in {1, 2}:
            raise IndexMismatchError(tenant, indexed=_text(said), configured=attempt.embedding_model)
        return bool(said == 1)

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

    async def page(
        self,
        tenant: str,
        *,
        after: str = "",
        prefix: str = "",
        state: DocumentState | None = None,
        limit: int = RECORDS_PAGE,
    ) -> DocumentPage:
        limit, index = min(limit, RECORDS_PAGE), index_keys(tenant)
        names, counts = index[0], index[1]
        shown = names if state is None else index[INDEX_HEAD + STATES.index(state)]
        async with registry_use(WRITE_SECONDS):
            for _ in range(INDEX_TRIES):
                keys = [registry_key(tenant), names, shown, counts]
                answer = await self._page(keys=keys, args=[prefix, after, limit])
                page = _page_of(answer, state, limit) if answer else None
                if page is not None:
                    return page
                # It was begun by an older release, or a part of it was lost.
                await self._index(keys=[registry_key(tenant), *index])
        raise RegistryUnavailableError(
            "The index of the documents (Redis) is lost again and again. Look at its memory."
        )

    async def latest_change(self, tenant: str) -> str:
        async with registry_use():
            newest = await self._client.xrevrange(index_keys(tenant)[CHANGES], count=1)
        return _text(newest[0][0] or b"0") if newest else "0"

    async def changes(self, tenant: str, after: str, *, wait_seconds: float) -> tuple[str, list[str]]:
        wait_seconds = min(wait_seconds, LONGEST_WAIT_SECONDS)
        key, block = index_keys(tenant)[CHANGES], max(1, int(wait_seconds * 1000))
        async with registry_use(wait_seconds + READ_SECONDS):
            entries = entries_of(await self._listening.xread({key: after}, block=block))
        keys = dict.fromkeys(_text(fields[b"k"]) for _, fields in entries)
        return position_of(entries, after), list(keys)

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


def _page_of(answer: Any, state: DocumentState | None, limit: int) -> DocumentPage | None:
    """What the script found; None when parts of the index disagree."""
    keys, records, counted, size = answer
    pairs = iter(counted)
    labels: dict[tuple[DocumentState, tuple[str, ...]], int] = {}
    for label, number in zip(pairs, pairs, strict=True):
        name, *groups = _text(label).split(LABEL_JOINT)
        labels[DocumentState(name), tuple(groups)] = int(number)
    if size != sum(number for (one, _), number in labels.items() if state in {None, one}) or None in records:
        return None
    documents = tuple(map(_document, records))
    is_full = keys and len(keys) >= limit
    return DocumentPage(documents, _text(keys[-1]) if is_full else "", labels)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _document(record: bytes | str) -> Document:
    fields = json.loads(record)
    lists = {name: tuple(fields.get(name, ())) for name in ("groups", "tags", "notes")}
    history = tuple(Step(at, DocumentState(state), reason) for at, state, reason in fields.get("history", ()))
    return Document(**{**fields, **lists, "state": DocumentState(fields["state"]), "history": history})
