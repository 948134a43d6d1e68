"""Qdrant over its REST API: Qdrant Cloud, a server of your own, or the embedded engine of the local stack.

Lean HTTP on one aiohttp session: importing the official client costs a second
and 77 MB at a cold start, and 5 ms of CPU a query (docs/decisions.md).
Protocol: https://api.qdrant.tech/api-reference
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from headrace.errors import ConfigurationError, HeadraceError, StoreUnavailableError
from headrace.filters import AllOf, AnyOf, Condition, Filter, parse_filter
from headrace.retries import with_retries
from headrace.types import Chunk, DocumentKey, EmbeddedChunk, Passage, SearchRequest

VECTOR = "dense"
UPSERT_BATCH = 64
ATTEMPTS = 3
READ_DEADLINE_SECONDS = 5.0
WRITE_DEADLINE_SECONDS = 30.0
# Qdrant Cloud's strict mode refuses to search or delete by a key that has no index.
PAYLOAD_INDEXES: Mapping[str, object] = {
    "tenant": {"type": "keyword", "is_tenant": True},
    "document": "keyword",
    "generation": "integer",
    "name": "keyword",
    "section": "keyword",
    "page": "integer",
}


class QdrantStore:
    """A VectorStore on one Qdrant collection; every tenant lives in it, apart by the `tenant` key."""

    def __init__(self, session: aiohttp.ClientSession, collection: str) -> None:
        self._session = session
        self._collection = collection
        self._path = f"/collections/{collection}"
        self._ensured: int | None = None

    async def check(self) -> None:
        await self._call("GET", "/collections", deadline_seconds=READ_DEADLINE_SECONDS)

    async def ensure(self, dimensions: int) -> None:
        if self._ensured == dimensions:
            return
        found = await self._call("GET", self._path, missing_ok=True)
        if found is None:
            await self._create(dimensions)
            found = await self._call("GET", self._path)
        size = found["config"]["params"]["vectors"][VECTOR]["size"]
        if size != dimensions:
            raise ConfigurationError(
                f"The collection {self._collection!r} holds vectors of {size} dimensions, but the embedding model "
                f"makes {dimensions}. Set COLLECTION_PREFIX to a new name, and the documents are embedded anew."
            )
        # Somebody else may have made the collection, and ended before its indexes.
        for field in PAYLOAD_INDEXES.keys() - found["payload_schema"].keys():
            index = {"field_name": field, "field_schema": PAYLOAD_INDEXES[field]}
            await self._call("PUT", f"{self._path}/index?wait=true", index)
        self._ensured = dimensions

    async def _create(self, dimensions: int) -> None:
        config = {
            "vectors": {VECTOR: {"size": dimensions, "distance": "Cosine"}},
            # One graph a tenant instead of a global one: the published set-up for multi-tenancy.
            "hnsw_config": {"m": 0, "payload_m": 16},
        }
        await self._call("PUT", self._path, config, exists_ok=True)

    async def upsert(self, chunks: Sequence[EmbeddedChunk]) -> None:
        for start in range(0, len(chunks), UPSERT_BATCH):
            points = [_point(chunk) for chunk in chunks[start : start + UPSERT_BATCH]]
            await self._call("PUT", f"{self._path}/points?wait=true", {"points": points})

    async def retire(self, key: DocumentKey, *, before: int) -> None:
        await self._delete(key, {"range": {"lt": before}})

    async def discard(self, key: DocumentKey, *, generation: int) -> None:
        await self._delete(key, {"match": {"value": generation}})

    async def _delete(self, key: DocumentKey, generations: Mapping[str, Any]) -> None:
        doomed = [_match("tenant", key.tenant), _match("document", key.key), {"key": "generation", **generations}]
        body = {"filter": {"must": doomed}}
        await self._call("POST", f"{self._path}/points/delete?wait=true", body, missing_ok=True)

    async def search(self, request: SearchRequest) -> list[Passage]:
        wanted = {"must": [_match("tenant", request.scope.tenant), _compile(parse_filter(request.filter))]}
        searches = [
            {"query": list(vector), "using": VECTOR, "limit": request.limit, "filter": wanted, "with_payload": True}
            for vector in request.vectors
        ]
        results = await self._call(
            "POST",
            f"{self._path}/points/query/batch",
            {"searches": searches},
            missing_ok=True,
            deadline_seconds=READ_DEADLINE_SECONDS,
        )
        return _best(results or [], request.limit)

    async def count(self, tenant: str, *, document_key: str | None = None) -> int:
        must = [_match("tenant", tenant)] + ([_match("document", document_key)] if document_key else [])
        body = {"filter": {"must": must}, "exact": True}
        result = await self._call("POST", f"{self._path}/points/count", body, missing_ok=True)
        return int(result["count"]) if result else 0

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        missing_ok: bool = False,
        exists_ok: bool = False,
        deadline_seconds: float = WRITE_DEADLINE_SECONDS,
    ) -> Any:
        async def once() -> Any:
            try:
                async with self._session.request(method, path, json=body) as response:
                    text = await response.text()
            except (aiohttp.ClientError, OSError) as error:
                raise StoreUnavailableError(f"The vector store does not answer ({type(error).__name__}).") from error
            if (missing_ok and response.status == 404) or (exists_ok and response.status == 409):
                return None
            if response.status >= 400:
                raise _fault(response.status, text, response.headers.get("Retry-After"))
            return json.loads(text)["result"]

        return await with_retries(
            once,
            attempts=ATTEMPTS,
            deadline_seconds=deadline_seconds,
            on_timeout=lambda: StoreUnavailableError(
                f"The vector store did not answer within {deadline_seconds:g} seconds. Try again in a moment."
            ),
        )


@asynccontextmanager
async def open_qdrant_store(url: str, *, api_key: str, collection: str) -> AsyncIterator[QdrantStore]:
    """A store on the Qdrant server at `url`. Does no I/O before its first call; closes its connections at the end."""
    headers = {"api-key": api_key} if api_key else {}
    connector = aiohttp.TCPConnector(limit=100, keepalive_timeout=60)
    async with aiohttp.ClientSession(url, headers=headers, connector=connector) as session:
        yield QdrantStore(session, collection)


def _point(embedded: EmbeddedChunk) -> dict[str, Any]:
    chunk = embedded.chunk
    payload = {
        "tenant": chunk.tenant,
        "document": chunk.document_key,
        "generation": chunk.generation,
        "index": chunk.index,
        "text": chunk.text,
        "name": chunk.name,
        "section": list(chunk.section),
        "page": chunk.page,
    }
    identity = "\x1f".join((chunk.document_key, str(chunk.generation), str(chunk.index)))
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, identity)),
        "vector": {VECTOR: [float(x) for x in embedded.vector]},
        "payload": {name: value for name, value in payload.items() if value is not None},
    }


def _best(results: Sequence[Mapping[str, Any]], limit: int) -> list[Passage]:
    best: dict[str, Passage] = {}
    for point in (point for result in results for point in result["points"]):
        passage = Passage(_chunk(point["payload"]), float(point["score"]))
        if point["id"] not in best or best[point["id"]].score < passage.score:
            best[point["id"]] = passage
    return sorted(best.values(), key=lambda p: (-p.score, p.chunk.document_key, p.chunk.index))[:limit]


def _chunk(payload: Mapping[str, Any]) -> Chunk:
    return Chunk(
        document_key=payload["document"],
        generation=payload["generation"],
        index=payload["index"],
        text=payload["text"],
        page=payload.get("page"),
        section=tuple(payload.get("section", ())),
    )


def _match(field: str, value: str) -> dict[str, Any]:
    return {"key": field, "match": {"value": value}}


def _compile(part: Filter) -> dict[str, Any]:
    match part:
        case AllOf(parts):
            return {"must": [_compile(p) for p in parts]}
        case AnyOf(parts):
            return {"should": [_compile(p) for p in parts]}
        case Condition(field, "$exists", wanted):
            return {"must_not" if wanted else "must": [{"is_empty": {"key": field}}]}
        case Condition(field, "$ne", value):
            return {"must_not": [_equals(field, value)]}
        case Condition(field, "$nin", values):
            return {"must_not": [_equals(field, value) for value in values]}
        case Condition(field, "$in", values):
            return {"should": [_equals(field, value) for value in values]}
        case Condition(field, "$eq", value):
            return _equals(field, value)
        case Condition(field, operator, value):
            return {"key": field, "range": {operator.removeprefix("$"): value}}


def _equals(field: str, value: str | float) -> dict[str, Any]:
    if isinstance(value, str):
        return {"key": field, "match": {"value": value}}
    # match.value 2020 misses a stored 2020.0; a range of one number does not.
    return {"key": field, "range": {"gte": value, "lte": value}}


def _fault(status: int, text: str, retry_after: str | None) -> HeadraceError:
    if status in {401, 403}:
        return ConfigurationError("The vector store refused the key. Check QDRANT_API_KEY.")
    # A collection whose indexes are being made refuses to filter: that passes.
    if status == 429 or status >= 500 or "Index required" in text:
        seconds = float(retry_after) if retry_after and retry_after.replace(".", "", 1).isdigit() else None
        return StoreUnavailableError(f"The vector store answered with status {status}.", retry_after_seconds=seconds)
    return ConfigurationError(f"The vector store refused a request (status {status}): {text[:200]}")
