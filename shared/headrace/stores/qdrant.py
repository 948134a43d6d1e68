"""Qdrant: Qdrant Cloud, a server of your own, or its engine in this process.

Everything goes over one seam of one method, so the embedded engine is asked what the Cloud is asked.
Protocol: https://api.qdrant.tech/api-reference
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from headrace.clients.http import Api, JsonApi, open_json_api
from headrace.concurrency.retries import READ_DEADLINE_SECONDS, WRITE_DEADLINE_SECONDS
from headrace.errors import ConfigurationError, StoreUnavailableError
from headrace.stores.payloads import chunk_of
from headrace.stores.qdrant_wire import (
    DENSE,
    PAYLOAD_INDEXES,
    collection_config,
    match,
    passages_of,
    point,
    point_id,
    search_body,
)
from headrace.types import Chunk, ChunkId, DocumentKey, EmbeddedChunk, SearchRequest, SearchResult

UPSERT_BATCH = 64
SCAN_PAGE = 256
MISSING = 404
EXISTS = 409
# A collection whose indexes are being made refuses to filter: that passes.
API = Api(
    "The vector store (Qdrant)",
    "QDRANT_API_KEY",
    StoreUnavailableError,
    passes=lambda _status, text: "Index required" in text,
)


class QdrantTransport(Protocol):
    """The way to Qdrant: the `result` of a call, or None for a status in `allow`."""

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        allow: frozenset[int] = frozenset(),
        deadline_seconds: float = WRITE_DEADLINE_SECONDS,
    ) -> Any:
        """Raises StoreUnavailableError or ConfigurationError."""


class QdrantStore:
    """A VectorStore on one Qdrant collection; every tenant lives in it, apart by the `tenant` key."""

    def __init__(self, transport: QdrantTransport, collection: str) -> None:
        self._transport = transport
        self._collection = collection
        self._path = f"/collections/{collection}"
        self._ensured: int | None = None

    async def check(self) -> None:
        await self._transport.call("GET", "/collections", deadline_seconds=READ_DEADLINE_SECONDS)

    async def ensure(self, dimensions: int) -> None:
        if self._ensured == dimensions:
            return
        config = collection_config(dimensions)
        found = await self._read("GET", self._path)
        if found is None:
            await self._transport.call("PUT", self._path, config, allow=frozenset({EXISTS}))
            found = await self._transport.call("GET", self._path)
        params = found["config"]["params"]
        if params["vectors"][DENSE]["size"] != dimensions:
            raise ConfigurationError(
                f"The collection {self._collection!r} holds vectors of {params['vectors'][DENSE]['size']} dimensions, "
                f"but the embedding model makes {dimensions}. Set COLLECTION_PREFIX to a new name, and the documents "
                "are embedded anew."
            )
        if not config["sparse_vectors"].keys() <= (params.get("sparse_vectors") or {}).keys():
            raise ConfigurationError(
                f"The collection {self._collection!r} was made by an older release and can't be searched by words. "
                "Set COLLECTION_PREFIX to a new name, and the documents are embedded anew."
            )
        # Somebody else may have made the collection, and ended before its indexes.
        for field in PAYLOAD_INDEXES.keys() - found["payload_schema"].keys():
            index = {"field_name": field, "field_schema": PAYLOAD_INDEXES[field]}
            await self._transport.call("PUT", f"{self._path}/index?wait=true", index)
        self._ensured = dimensions

    async def upsert(self, chunks: Sequence[EmbeddedChunk]) -> int:
        for start in range(0, len(chunks), UPSERT_BATCH):
            points = [point(chunk) for chunk in chunks[start : start + UPSERT_BATCH]]
            allow = frozenset({MISSING})
            done = await self._transport.call("PUT", f"{self._path}/points?wait=true", {"points": points}, allow=allow)
            if done is None:
                self._ensured = None
                raise StoreUnavailableError(f"The collection {self._collection!r} is gone. Try again in a moment.")
        return 0

    async def delete_older(self, key: DocumentKey, *, before: int) -> None:
        await self._delete(key, {"range": {"lt": before}})

    async def delete_generation(self, key: DocumentKey, *, generation: int) -> None:
        await self._delete(key, {"match": {"value": generation}})

    async def _delete(self, key: DocumentKey, generations: Mapping[str, Any]) -> None:
        targets = [match("tenant", key.tenant), match("document", key.key), {"key": "generation", **generations}]
        body = {"filter": {"must": targets}}
        await self._read("POST", f"{self._path}/points/delete?wait=true", body, WRITE_DEADLINE_SECONDS)

    async def search(self, request: SearchRequest) -> SearchResult:
        searches = [search_body(request, query) for query in request.queries]
        results = await self._read("POST", f"{self._path}/points/query/batch", {"searches": searches})
        return SearchResult(passages_of(request, results) if results else ())

    async def chunks(self, tenant: str, identities: Collection[ChunkId]) -> list[Chunk]:
        body = {"ids": [point_id(identity) for identity in identities], "with_payload": True}
        found = await self._read("POST", f"{self._path}/points", body) if identities else []
        chunks = [chunk_of(record["payload"]) for record in found or [] if record["payload"]["tenant"] == tenant]
        return sorted(chunks, key=lambda chunk: chunk.identity)

    async def embedded(self, tenant: str, identities: Collection[ChunkId]) -> list[EmbeddedChunk]:
        body = {"ids": list(map(point_id, identities)), "with_payload": True, "with_vector": [DENSE]}
        found = await self._read("POST", f"{self._path}/points", body) if identities else []
        mine = [record for record in found or [] if record["payload"]["tenant"] == tenant]
        embedded = [EmbeddedChunk(chunk_of(record["payload"]), record["vector"][DENSE]) for record in mine]
        return sorted(embedded, key=lambda each: each.chunk.identity)

    async def count(self, tenant: str, *, document_key: str | None = None) -> int:
        must = [match("tenant", tenant)] + ([match("document", document_key)] if document_key else [])
        result = await self._read("POST", f"{self._path}/points/count", {"filter": {"must": must}, "exact": True})
        return int(result["count"]) if result else 0

    async def scan(self, tenant: str) -> AsyncIterator[Chunk]:
        offset: Any = None
        while True:
            body = {"filter": {"must": [match("tenant", tenant)]}, "limit": SCAN_PAGE, "with_payload": True}
            page = await self._read("POST", f"{self._path}/points/scroll", {**body, "offset": offset})
            for record in page["points"] if page else ():
                yield chunk_of(record["payload"])
            offset = page["next_page_offset"] if page else None
            if offset is None:
                return

    async def drop(self) -> None:
        await self._read("DELETE", self._path, None, WRITE_DEADLINE_SECONDS)
        self._ensured = None

    async def _read(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        deadline_seconds: float = READ_DEADLINE_SECONDS,
    ) -> Any:
        """A call for which a missing collection is an empty one."""
        allow = frozenset({MISSING})
        return await self._transport.call(method, path, body, allow=allow, deadline_seconds=deadline_seconds)


class HttpQdrant:
    """A QdrantTransport to a server."""

    def __init__(self, api: JsonApi) -> None:
        self._api = api

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        allow: frozenset[int] = frozenset(),
        deadline_seconds: float = WRITE_DEADLINE_SECONDS,
    ) -> Any:
        reply = await self._api.call(method, path, body, allow=allow, deadline_seconds=deadline_seconds)
        return None if reply.value is None else reply.value["result"]


@asynccontextmanager
async def open_qdrant_store(url: str, *, api_key: str, collection: str) -> AsyncIterator[QdrantStore]:
    """A store on the Qdrant server at `url`. Does no I/O before its first call; closes its connections at the end."""
    headers = {"api-key": api_key} if api_key else {}
    async with open_json_api(url, API, headers=headers) as api:
        yield QdrantStore(HttpQdrant(api), collection)
