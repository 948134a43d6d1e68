"""Pinecone: one serverless index, one namespace a tenant.

Pinecone shows writes late. It numbers them (LSN) and says with each answer how far it has come: here a write waits
until queries see it, and a search tells its watermark, so that a reader can tell an answer from before a flip.
References: https://docs.pinecone.io/reference/api and https://docs.pinecone.io/guides/index-data/check-data-freshness
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from headrace.clients.http import Api, JsonApi, JsonReply, open_json_api
from headrace.concurrency.gather import gather_all
from headrace.concurrency.retries import READ_DEADLINE_SECONDS, WRITE_DEADLINE_SECONDS
from headrace.errors import ConfigurationError, StoreUnavailableError
from headrace.ranking import best_of
from headrace.stores.payloads import chunk_of
from headrace.stores.pinecone_wire import index_name, namespace_of, passage_of, query_body, record
from headrace.stores.record_ids import document_prefix, generation_of, record_id
from headrace.types import Chunk, ChunkId, DocumentKey, EmbeddedChunk, Query, SearchRequest, SearchResult

T = TypeVar("T")

API = Api("The vector store (Pinecone)", "PINECONE_API_KEY", StoreUnavailableError)
API_VERSION = "2025-10"
# Under the limits of 1,000 records and 2 MB a request.
UPSERT_BATCH = 50
DELETE_BATCH = 1000
# Ids in one fetch: they travel in its URL.
FETCH_BATCH = 50
MISSING = frozenset({404})
NO_RECORD = "none"
MADE_SECONDS = 120.0
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
WRITTEN = ("x-pinecone-request-lsn", "x-pinecone-lsn-committed")
SEEN = ("x-pinecone-max-indexed-lsn", "x-pinecone-lsn-reconciled")


@dataclass(frozen=True, slots=True)
class PineconeRegion:
    """Where an index is made if it is missing."""

    cloud: str = "aws"
    region: str = "us-east-1"


class PineconeStore:
    """A VectorStore on one Pinecone index."""

    def __init__(self, control: JsonApi, *, collection: str, region: PineconeRegion) -> None:
        self._control = control
        self._index = index_name(collection)
        self._region = region
        self._data: JsonApi | None = None
        self._ensured: int | None = None

    async def check(self) -> None:
        await self._control.call("GET", "/indexes", deadline_seconds=READ_DEADLINE_SECONDS)

    async def ensure(self, dimensions: int) -> None:
        if self._ensured == dimensions:
            return
        described = await self._describe()
        if described is None:
            spec = {"serverless": {"cloud": self._region.cloud, "region": self._region.region}}
            body = {"name": self._index, "dimension": dimensions, "metric": "dotproduct", "spec": spec}
            await self._control.call("POST", "/indexes", body, allow=frozenset({409}))
        try:
            async with asyncio.timeout(MADE_SECONDS):
                described = await _until(self._describe, lambda found: found is not None and found["status"]["ready"])
        except TimeoutError:
            raise StoreUnavailableError(
                f"Pinecone's index {self._index!r} is not ready after {MADE_SECONDS:g} seconds. Try again in a moment."
            ) from None
        if (described["dimension"], described["metric"]) != (dimensions, "dotproduct"):
            raise ConfigurationError(
                f"Pinecone's index {self._index!r} is {described['metric']} of {described['dimension']} dimensions, but "
                f"dotproduct of {dimensions} is needed. Set COLLECTION_PREFIX to a new name, and the documents are "
                "embedded anew."
            )
        self._ensured = dimensions

    async def _describe(self) -> Any:
        """What the control plane says of the index; None while there is none."""
        path = f"/indexes/{self._index}"
        reply = await self._control.call("GET", path, allow=MISSING, deadline_seconds=READ_DEADLINE_SECONDS)
        described = reply.value
        if described is not None and described.get("host"):
            host = described["host"]
            self._data = self._control.at(host if "://" in host else f"https://{host}")
        return described

    async def upsert(self, chunks: Sequence[EmbeddedChunk]) -> int:
        watermark = 0
        for start in range(0, len(chunks), UPSERT_BATCH):
            batch = chunks[start : start + UPSERT_BATCH]
            namespace = namespace_of(batch[0].chunk.tenant)
            body = {"namespace": namespace, "vectors": [record(chunk) for chunk in batch]}
            reply = await self._call("POST", "/vectors/upsert", body)
            if reply is None or reply.value is None:
                self._data = self._ensured = None
                raise StoreUnavailableError(f"Pinecone's index {self._index!r} is gone. Try again in a moment.")
            watermark = max(watermark, _number(reply, WRITTEN) or 0)
        if chunks:
            await self._until_shown(namespace_of(chunks[0].chunk.tenant), watermark)
        return watermark

    async def _until_shown(self, namespace: str, watermark: int) -> None:
        """Wait until queries see every write up to the watermark."""
        probe = {"namespace": namespace, "topK": 1, "id": NO_RECORD, "includeMetadata": False, "includeValues": False}
        await self._until_seen(watermark, partial(self._call, "POST", "/query", probe))

    async def _until_seen(self, watermark: int, read: Callable[[], Awaitable[JsonReply | None]]) -> JsonReply | None:
        """Read until the reply has seen every write up to the watermark. Where replies don't say, the first one does."""

        def has_seen(reply: JsonReply | None) -> bool:
            seen = _number(reply, SEEN)
            return seen is None or seen >= watermark

        try:
            async with asyncio.timeout(WRITE_DEADLINE_SECONDS):
                return await _until(read, has_seen)
        except TimeoutError:
            raise StoreUnavailableError(
                f"Pinecone does not show a write after {WRITE_DEADLINE_SECONDS:g} seconds. Try again in a moment."
            ) from None

    async def delete_older(self, key: DocumentKey, *, before: int) -> None:
        await self._delete(key, [i for i in await self._ids_of(key) if generation_of(i) < before])

    async def delete_generation(self, key: DocumentKey, *, generation: int) -> None:
        await self._delete(key, [i for i in await self._ids_of(key) if generation_of(i) == generation])

    async def _delete(self, key: DocumentKey, ids: Sequence[str]) -> None:
        namespace = namespace_of(key.tenant)
        watermark = 0
        for start in range(0, len(ids), DELETE_BATCH):
            body = {"namespace": namespace, "ids": ids[start : start + DELETE_BATCH]}
            watermark = max(watermark, _number(await self._call("POST", "/vectors/delete", body), WRITTEN) or 0)
        if ids:
            await self._until_shown(namespace, watermark)

    async def search(self, request: SearchRequest) -> SearchResult:
        replies = await gather_all(self._query(request, query) for query in request.queries)
        watermarks = [seen for seen in (_number(reply, SEEN) for reply in replies) if seen is not None]
        found = [
            passage_of(request, query, match)
            for query, reply in zip(request.queries, replies, strict=True)
            for match in (reply.value["matches"] if reply and reply.value else ())
        ]
        return SearchResult(best_of(found, request.limit), min(watermarks) if watermarks else None)

    async def _query(self, request: SearchRequest, query: Query) -> JsonReply | None:
        return await self._call("POST", "/query", query_body(request, query), deadline_seconds=READ_DEADLINE_SECONDS)

    async def chunks(self, tenant: str, identities: Collection[ChunkId]) -> list[Chunk]:
        return [each.chunk for each in await self.embedded(tenant, identities)]

    async def embedded(self, tenant: str, identities: Collection[ChunkId]) -> list[EmbeddedChunk]:
        found = await self._fetch(tenant, [record_id(identity) for identity in identities])
        return sorted(found, key=lambda each: each.chunk.identity)

    async def count(self, tenant: str, *, document_key: str | None = None) -> int:
        prefix = document_prefix(document_key) if document_key else ""
        return len([i async for i in self._ids(tenant, prefix)])

    async def scan(self, tenant: str) -> AsyncIterator[Chunk]:
        page: list[str] = []
        async for record_id_ in self._ids(tenant, ""):
            page.append(record_id_)
            if len(page) == FETCH_BATCH:
                for each in await self._fetch(tenant, page):
                    yield each.chunk
                page = []
        for each in await self._fetch(tenant, page):
            yield each.chunk

    async def drop(self) -> None:
        await self._control.call("DELETE", f"/indexes/{self._index}", allow=MISSING)
        self._data = self._ensured = None

    async def _ids_of(self, key: DocumentKey) -> list[str]:
        return [i async for i in self._ids(key.tenant, document_prefix(key.key))]

    async def _ids(self, tenant: str, prefix: str) -> AsyncIterator[str]:
        """Every record there is, those that were written a moment ago by an attempt that died included."""
        namespace = namespace_of(tenant)
        wanted = [("namespace", namespace)] + ([("prefix", prefix)] if prefix else [])
        # A write of no effect: whoever has seen it has seen what was written before it.
        fence = await self._call("POST", "/vectors/delete", {"namespace": namespace, "ids": [NO_RECORD]})
        watermark = _number(fence, WRITTEN) or 0
        token: str | None = None
        while True:
            params = [*wanted, ("paginationToken", token)] if token else wanted
            reply = await self._until_seen(watermark, partial(self._call, "GET", "/vectors/list", params=params))
            listed = reply.value if reply and reply.value else {}
            for entry in listed.get("vectors", ()):
                yield entry["id"]
            token = (listed.get("pagination") or {}).get("next")
            if not token:
                return

    async def _fetch(self, tenant: str, ids: Sequence[str]) -> list[EmbeddedChunk]:
        found: list[EmbeddedChunk] = []
        for start in range(0, len(ids), FETCH_BATCH):
            batch = [("ids", record) for record in ids[start : start + FETCH_BATCH]]
            reply = await self._call("GET", "/vectors/fetch", params=[("namespace", namespace_of(tenant)), *batch])
            records = reply.value["vectors"] if reply and reply.value else {}
            found += [EmbeddedChunk(chunk_of(entry["metadata"]), entry["values"]) for entry in records.values()]
        return found

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        params: Sequence[tuple[str, str]] = (),
        deadline_seconds: float = WRITE_DEADLINE_SECONDS,
    ) -> JsonReply | None:
        """A call to the index; None while there is none, which holds nothing."""
        if self._data is None:
            await self._describe()
        if self._data is None:
            return None
        return await self._data.call(
            method, path, body, params=params, allow=MISSING, deadline_seconds=deadline_seconds
        )


@asynccontextmanager
async def open_pinecone_store(
    url: str, *, api_key: str, collection: str, region: PineconeRegion
) -> AsyncIterator[PineconeStore]:
    """A store on the Pinecone account of the key; `url` is the control plane's. Does no I/O before its first call."""
    headers = {"Api-Key": api_key, "X-Pinecone-Api-Version": API_VERSION}
    async with open_json_api(url, API, headers=headers) as control:
        yield PineconeStore(control, collection=collection, region=region)


async def _until(read: Callable[[], Awaitable[T]], is_done: Callable[[T], bool]) -> T:
    """Read, with pauses that grow, until what was read will do."""
    pause_seconds = FIRST_PAUSE_SECONDS
    while not is_done(found := await read()):
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)
    return found


def _number(reply: JsonReply | None, names: Sequence[str]) -> int | None:
    found = [reply.headers[name] for name in names if reply is not None and name in reply.headers]
    return int(found[0]) if found else None
