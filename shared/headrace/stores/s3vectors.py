"""Amazon S3 Vectors: one vector bucket, one index a tenant; nothing to pay for while nobody asks.

Writes are seen by the next read. An index can't be searched by the beginning of a name, so a document's vectors are
found by its digest in their metadata.
References: https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-vectors.html and
https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_S3_Vectors.html
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from headrace.clients.aws import AwsAccess, open_signed_api
from headrace.clients.http import Api, JsonApi
from headrace.concurrency.gather import gather_all
from headrace.concurrency.retries import READ_DEADLINE_SECONDS, WRITE_DEADLINE_SECONDS
from headrace.errors import ConfigurationError, StoreUnavailableError
from headrace.filters import fields_of, matches, parse_filter
from headrace.ranking import best_of, by_similarity
from headrace.stores.payloads import chunk_of
from headrace.stores.record_ids import document_prefix, generation_of, record_id
from headrace.stores.s3vectors_wire import (
    CHUNK,
    generation_query,
    generations_query,
    index_name,
    query_bodies,
    record,
    tenant_index,
)
from headrace.types import Chunk, ChunkId, DocumentKey, EmbeddedChunk, Passage, Query, SearchRequest, SearchResult

API = Api(
    "The vector store (S3 Vectors)",
    "VECTOR_BUCKET, and that the role may call s3vectors on it and on its indexes",
    StoreUnavailableError,
)
# Vectors of one call, by the service's limits; 20 MB a call, of which a vector of 4,096 dimensions with its chunk is 100 kB.
PUT_BATCH = 100
DELETE_BATCH = 500
GET_BATCH = 100
LIST_PAGE = 1000
SCAN_PAGE = 100
MOST_FOUND = 100
CANDIDATES = 40
MISSING = frozenset({404})
CONFLICT = frozenset({409})


class S3VectorStore:
    """A VectorStore on one vector bucket."""

    def __init__(self, api: JsonApi, *, bucket: str, collection: str) -> None:
        self._api = api
        self._bucket = bucket
        self._collection = collection
        self._base = index_name(collection)
        self._ensured: int | None = None

    async def check(self) -> None:
        body = {"vectorBucketName": self._bucket}
        reply = await self._api.call(
            "POST", "/GetVectorBucket", body, allow=MISSING, deadline_seconds=READ_DEADLINE_SECONDS
        )
        if reply.status in MISSING:
            raise ConfigurationError(f"There is no vector bucket {self._bucket!r}. Check VECTOR_BUCKET and AWS_REGION.")

    async def ensure(self, dimensions: int) -> None:
        if self._ensured == dimensions:
            return
        known = await self._dimensions()
        if known is None:
            await self._create(self._base, dimensions)
            known = await self._dimensions() or dimensions
        if known != dimensions:
            raise ConfigurationError(
                f"The collection {self._base!r} holds vectors of {known} dimensions, but the embedding model makes "
                f"{dimensions}. Set COLLECTION_PREFIX to a new name, and the documents are embedded anew."
            )
        self._ensured = dimensions

    async def _dimensions(self) -> int | None:
        """The collection's dimensions; None while there is no collection."""
        found = await self._call("GetIndex", self._base, {}, deadline_seconds=READ_DEADLINE_SECONDS)
        return None if found is None else int(found["index"]["dimension"])

    async def _create(self, index: str, dimensions: int) -> None:
        body = {
            "vectorBucketName": self._bucket,
            "indexName": index,
            "dataType": "float32",
            "dimension": dimensions,
            "distanceMetric": "cosine",
            "metadataConfiguration": {"nonFilterableMetadataKeys": [CHUNK]},
        }
        reply = await self._api.call("POST", "/CreateIndex", body, allow=MISSING | CONFLICT)
        if reply.status in MISSING:
            # There is nowhere to make it.
            await self.check()

    async def upsert(self, chunks: Sequence[EmbeddedChunk]) -> int:
        for start in range(0, len(chunks), PUT_BATCH):
            batch = chunks[start : start + PUT_BATCH]
            index = tenant_index(self._collection, batch[0].chunk.tenant)
            body = {"vectors": [record(embedded) for embedded in batch]}
            if await self._call("PutVectors", index, body) is None:
                await self._make_tenant(index)
                if await self._call("PutVectors", index, body) is None:
                    raise self._gone()
        return 0

    async def _make_tenant(self, index: str) -> None:
        dimensions = await self._dimensions()
        if dimensions is None:
            raise self._gone()
        await self._create(index, dimensions)

    def _gone(self) -> StoreUnavailableError:
        self._ensured = None
        return StoreUnavailableError(f"The collection {self._base!r} is gone. Try again in a moment.")

    async def delete_older(self, key: DocumentKey, *, before: int) -> None:
        kept: set[int] = set()
        while found := await self._find(key, kept):
            kept |= {generation for generation in map(generation_of, found) if generation >= before}
            await self._delete(key.tenant, [each for each in found if generation_of(each) < before])

    async def delete_generation(self, key: DocumentKey, *, generation: int) -> None:
        while found := await self._find(key, (), generation):
            await self._delete(key.tenant, found)

    async def _find(self, key: DocumentKey, without: Collection[int], generation: int | None = None) -> list[str]:
        """The keys of some of the document's vectors; none when there are none."""
        dimensions = self._ensured or await self._dimensions()
        if dimensions is None:
            return []
        if generation is None:
            body = generations_query(key, without, dimensions, MOST_FOUND)
        else:
            body = generation_query(key, generation, dimensions, MOST_FOUND)
        found = await self._call("QueryVectors", tenant_index(self._collection, key.tenant), body)
        prefix = document_prefix(key.key)
        return [each["key"] for each in (found or {}).get("vectors", ()) if each["key"].startswith(prefix)]

    async def _delete(self, tenant: str, keys: Sequence[str]) -> None:
        if keys:
            await self._call("DeleteVectors", tenant_index(self._collection, tenant), {"keys": list(keys)})

    async def search(self, request: SearchRequest) -> SearchResult:
        count = min(max(CANDIDATES, 2 * request.limit), MOST_FOUND)
        lists = await gather_all(
            self._nearest(request, query, body)
            for query in request.queries
            for body in query_bodies(request, query, count)
        )
        return SearchResult(best_of((passage for found in lists for passage in found), request.limit))

    async def _nearest(self, request: SearchRequest, query: Query, body: Mapping[str, Any]) -> list[Passage]:
        index = tenant_index(self._collection, request.scope.tenant)
        found = await self._call("QueryVectors", index, body, deadline_seconds=READ_DEADLINE_SECONDS)
        wanted = parse_filter(request.filter)
        hits = ((_chunk(each), float(each["distance"])) for each in (found or {}).get("vectors", ()))
        # What stands for a text in the filter might stand for another, too.
        return [
            by_similarity(request, query, chunk, 1.0 - distance)
            for chunk, distance in hits
            if matches(wanted, fields_of(chunk))
        ]

    async def chunks(self, tenant: str, identities: Collection[ChunkId]) -> list[Chunk]:
        return [_chunk(each) for each in await self._get(tenant, identities, with_vectors=False)]

    async def embedded(self, tenant: str, identities: Collection[ChunkId]) -> list[EmbeddedChunk]:
        found = await self._get(tenant, identities, with_vectors=True)
        return [EmbeddedChunk(_chunk(each), each["data"]["float32"]) for each in found]

    async def _get(
        self, tenant: str, identities: Collection[ChunkId], *, with_vectors: bool
    ) -> list[Mapping[str, Any]]:
        wanted = sorted(identity for identity in identities if DocumentKey(identity.document_key).tenant == tenant)
        keys = [record_id(identity) for identity in wanted]
        calls = (
            self._call(
                "GetVectors",
                tenant_index(self._collection, tenant),
                {"keys": keys[start : start + GET_BATCH], "returnMetadata": True, "returnData": with_vectors},
                deadline_seconds=READ_DEADLINE_SECONDS,
            )
            for start in range(0, len(keys), GET_BATCH)
        )
        found = [each for reply in await gather_all(calls) for each in (reply or {}).get("vectors", ())]
        return sorted(found, key=lambda each: _chunk(each).identity)

    async def count(self, tenant: str, *, document_key: str | None = None) -> int:
        prefix = document_prefix(document_key) if document_key else ""
        return len([each async for each in self._list(tenant, with_chunks=False) if each["key"].startswith(prefix)])

    async def scan(self, tenant: str) -> AsyncIterator[Chunk]:
        async for each in self._list(tenant, with_chunks=True):
            yield _chunk(each)

    async def _list(self, tenant: str, *, with_chunks: bool) -> AsyncIterator[Mapping[str, Any]]:
        index = tenant_index(self._collection, tenant)
        body: dict[str, Any] = {"maxResults": SCAN_PAGE if with_chunks else LIST_PAGE, "returnMetadata": with_chunks}
        while True:
            found = await self._call("ListVectors", index, body) or {}
            for each in found.get("vectors", ()):
                yield each
            if not found.get("nextToken"):
                return
            body["nextToken"] = found["nextToken"]

    async def drop(self) -> None:
        self._ensured = None
        # The collection's first, so that no writer makes a tenant's anew.
        await self._call("DeleteIndex", self._base, {})
        body: dict[str, Any] = {"vectorBucketName": self._bucket, "prefix": f"{self._base}-"}
        while True:
            reply = await self._api.call("POST", "/ListIndexes", body, allow=MISSING)
            listed = reply.value or {}
            for index in listed.get("indexes", ()):
                await self._call("DeleteIndex", index["indexName"], {})
            if not listed.get("nextToken"):
                return
            body["nextToken"] = listed["nextToken"]

    async def _call(
        self, operation: str, index: str, body: Mapping[str, Any], *, deadline_seconds: float = WRITE_DEADLINE_SECONDS
    ) -> dict[str, Any] | None:
        """A call about an index; None while there is none, which holds nothing."""
        whole = {"vectorBucketName": self._bucket, "indexName": index, **body}
        reply = await self._api.call("POST", f"/{operation}", whole, allow=MISSING, deadline_seconds=deadline_seconds)
        return None if reply.status in MISSING else reply.value or {}


def _chunk(found: Mapping[str, Any]) -> Chunk:
    return chunk_of(json.loads(found["metadata"][CHUNK]))


@asynccontextmanager
async def open_s3_vector_store(access: AwsAccess, *, bucket: str, collection: str) -> AsyncIterator[S3VectorStore]:
    """A store in a vector bucket of the region. Connects at its first call, closes its connections at the end."""
    async with open_signed_api(access, "s3vectors", API) as api:
        yield S3VectorStore(api, bucket=bucket, collection=collection)
