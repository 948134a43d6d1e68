"""Redis as a vector store: FT.* on Redis 8, MemoryDB or Valkey from 8.2; for hundreds of users and 100,000 chunks.

A chunk is a hash; a document's chunks are listed in a set beside it, so that deleting and counting need no index.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeVar, cast

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from headrace.clients.redis import open_redis
from headrace.concurrency.gather import gather_all
from headrace.concurrency.retries import ATTEMPTS, READ_DEADLINE_SECONDS, WRITE_DEADLINE_SECONDS, with_retries
from headrace.errors import ConfigurationError, StoreUnavailableError
from headrace.filters import fields_of, matches, parse_filter
from headrace.ranking import best_of, by_similarity
from headrace.stores.payloads import chunk_of
from headrace.stores.redis_wire import digest, hash_of, index_arguments, member_of, pack, queries_of, unpack
from headrace.types import Chunk, ChunkId, DocumentKey, EmbeddedChunk, Passage, Query, SearchRequest, SearchResult

T = TypeVar("T")

UPSERT_BATCH = 100
SCAN_PAGE = 200
DROP_PAGE = 1000
# Each of the two lists that passages are taken from is at least this long.
CANDIDATES = 40
MOST_CANDIDATES = 5_000
NO_INDEX = ("no such index", "unknown index name", "not found")


class RedisStore:
    """A VectorStore on a Redis client with FT.*, which stays the opener's to close."""

    def __init__(self, client: Redis, collection: str) -> None:
        # The client's own types know neither FT.* nor that its replies are bytes.
        self._client = cast("Any", client)
        self._collection = collection
        self._ensured: int | None = None

    async def check(self) -> None:
        await self._run(self._client.ping, READ_DEADLINE_SECONDS)

    async def ensure(self, dimensions: int) -> None:
        if self._ensured == dimensions:
            return
        arguments = index_arguments(self._collection, f"{self._collection}:chunk:", dimensions)

        async def make() -> int:
            try:
                await self._client.execute_command("FT.CREATE", *arguments)
            except ResponseError as error:
                if "exist" not in str(error).lower():
                    raise
            await self._client.set(self._dimensions, dimensions, nx=True)
            return int(await self._client.get(self._dimensions))

        known = await self._run(make, WRITE_DEADLINE_SECONDS)
        if known != dimensions:
            raise ConfigurationError(
                f"The collection {self._collection!r} holds vectors of {known} dimensions, but the embedding model "
                f"makes {dimensions}. Set COLLECTION_PREFIX to a new name, and the documents are embedded anew."
            )
        self._ensured = dimensions

    async def upsert(self, chunks: Sequence[EmbeddedChunk]) -> int:
        if chunks and not await self._run(partial(self._client.exists, self._dimensions), READ_DEADLINE_SECONDS):
            self._ensured = None
            raise StoreUnavailableError(f"The collection {self._collection!r} is gone. Try again in a moment.")
        for start in range(0, len(chunks), UPSERT_BATCH):
            batch = chunks[start : start + UPSERT_BATCH]

            async def write(batch: Sequence[EmbeddedChunk] = batch) -> None:
                async with self._client.pipeline(transaction=True) as pipeline:
                    for embedded in batch:
                        key = DocumentKey(embedded.chunk.document_key)
                        pipeline.sadd(self._documents(key.tenant), key.key)
                        pipeline.sadd(self._members(key), member_of(embedded.chunk.identity))
                        pipeline.hset(self._chunk(embedded.chunk.identity), mapping=hash_of(embedded))
                    await pipeline.execute()

            await self._run(write, WRITE_DEADLINE_SECONDS)
        return 0

    async def delete_older(self, key: DocumentKey, *, before: int) -> None:
        await self._delete(key, lambda generation: generation < before)

    async def delete_generation(self, key: DocumentKey, *, generation: int) -> None:
        await self._delete(key, lambda found: found == generation)

    async def _delete(self, key: DocumentKey, is_target: Callable[[int], bool]) -> None:
        targets = [identity for identity in await self._identities(key) if is_target(identity.generation)]

        async def delete() -> None:
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.delete(*(self._chunk(identity) for identity in targets))
                pipeline.srem(self._members(key), *(member_of(identity) for identity in targets))
                await pipeline.execute()

        if targets:
            await self._run(delete, WRITE_DEADLINE_SECONDS)

    async def search(self, request: SearchRequest) -> SearchResult:
        lists = await gather_all(
            self._nearest(request, query, visible)
            for query in request.queries
            for visible in queries_of(request, query)
        )
        return SearchResult(best_of((passage for found in lists for passage in found), request.limit))

    async def _nearest(self, request: SearchRequest, query: Query, visible: str) -> list[Passage]:
        wanted = parse_filter(request.filter)
        count = max(CANDIDATES, 2 * request.limit)
        while True:
            hits = await self._knn(visible, pack(query.vector), count)
            fitting = [(chunk, distance) for chunk, distance in hits if matches(wanted, fields_of(chunk))]
            # The query may find more than the filter wants: look further until enough of it fits.
            if len(hits) < count or len(fitting) >= request.limit or count == MOST_CANDIDATES:
                return [by_similarity(request, query, chunk, 1.0 - distance) for chunk, distance in fitting]
            count = min(4 * count, MOST_CANDIDATES)

    async def _knn(self, visible: str, vector: bytes, count: int) -> list[tuple[Chunk, float]]:
        """The nearest chunks and their distances; fewer than `count` when there are no more."""
        asked = f"{visible}=>[KNN {count} @vector $vector AS distance]"
        options = ("RETURN", 2, "chunk", "distance", "LIMIT", 0, count, "PARAMS", 2, "vector", vector, "DIALECT", 2)

        async def search() -> list[Any]:
            try:
                found: list[Any] = await self._client.execute_command("FT.SEARCH", self._collection, asked, *options)
            except ResponseError as error:
                if _lacks_index(error):
                    return [0]
                raise
            return found

        found = await self._run(search, READ_DEADLINE_SECONDS)
        hits = (dict(zip(fields[::2], fields[1::2], strict=True)) for fields in found[2::2] if fields)
        # A chunk that is deleted meanwhile comes without its fields.
        return [(chunk_of(json.loads(hit[b"chunk"])), float(hit[b"distance"])) for hit in hits if b"chunk" in hit]

    async def chunks(self, tenant: str, identities: Collection[ChunkId]) -> list[Chunk]:
        wanted = sorted(identity for identity in identities if DocumentKey(identity.document_key).tenant == tenant)

        async def read() -> list[Chunk]:
            async with self._client.pipeline(transaction=False) as pipeline:
                for identity in wanted:
                    pipeline.hget(self._chunk(identity), "chunk")
                return [chunk_of(json.loads(body)) for body in await pipeline.execute() if body]

        return await self._run(read, READ_DEADLINE_SECONDS) if wanted else []

    async def embedded(self, tenant: str, identities: Collection[ChunkId]) -> list[EmbeddedChunk]:
        wanted = sorted(identity for identity in identities if DocumentKey(identity.document_key).tenant == tenant)

        async def read() -> list[EmbeddedChunk]:
            async with self._client.pipeline(transaction=False) as pipeline:
                for identity in wanted:
                    pipeline.hmget(self._chunk(identity), "chunk", "vector")
                found = await pipeline.execute()
            return [EmbeddedChunk(chunk_of(json.loads(body)), unpack(vector)) for body, vector in found if body]

        return await self._run(read, READ_DEADLINE_SECONDS) if wanted else []

    async def count(self, tenant: str, *, document_key: str | None = None) -> int:
        async def count_all() -> int:
            keys = [document_key] if document_key else await self._document_keys(tenant)
            async with self._client.pipeline(transaction=False) as pipeline:
                for key in keys:
                    pipeline.scard(self._members(DocumentKey(key)))
                return sum(await pipeline.execute())

        return await self._run(count_all, WRITE_DEADLINE_SECONDS)

    async def scan(self, tenant: str) -> AsyncIterator[Chunk]:
        for key in await self._run(lambda: self._document_keys(tenant), WRITE_DEADLINE_SECONDS):
            identities = await self._identities(DocumentKey(key))
            for start in range(0, len(identities), SCAN_PAGE):
                for chunk in await self.chunks(tenant, identities[start : start + SCAN_PAGE]):
                    yield chunk

    async def drop(self) -> None:
        async def drop_index() -> None:
            try:
                await self._client.execute_command("FT.DROPINDEX", self._collection)
            except ResponseError as error:
                if not _lacks_index(error):
                    raise

        await self._run(drop_index, WRITE_DEADLINE_SECONDS)
        self._ensured = None
        cursor: Any = None
        while cursor != 0:
            page = partial(self._client.scan, cursor or 0, match=f"{self._collection}:*", count=DROP_PAGE)
            cursor, keys = await self._run(page, WRITE_DEADLINE_SECONDS)
            if keys:
                await self._run(partial(self._client.unlink, *keys), WRITE_DEADLINE_SECONDS)

    async def _document_keys(self, tenant: str) -> list[str]:
        return sorted(key.decode() for key in await self._client.smembers(self._documents(tenant)))

    async def _identities(self, key: DocumentKey) -> list[ChunkId]:
        members = await self._run(lambda: self._client.smembers(self._members(key)), WRITE_DEADLINE_SECONDS)
        parts = (member.decode().split("/") for member in members)
        return sorted(ChunkId(key.key, int(generation), int(index)) for generation, index in parts)

    # There as long as the index is.
    @property
    def _dimensions(self) -> str:
        return f"{self._collection}:dimensions"

    # A tenant's keys share a hash tag; the chunks' begin alike, which is what the index goes by.
    def _documents(self, tenant: str) -> str:
        return f"{self._collection}:documents:{{{digest(tenant)}}}"

    def _members(self, key: DocumentKey) -> str:
        return f"{self._collection}:members:{{{digest(key.tenant)}}}:{digest(key.key)}"

    def _chunk(self, identity: ChunkId) -> str:
        tenant = digest(DocumentKey(identity.document_key).tenant)
        return f"{self._collection}:chunk:{{{tenant}}}:{digest(identity.document_key)}:{member_of(identity)}"

    async def _run(self, operation: Callable[[], Awaitable[T]], deadline_seconds: float) -> T:
        async def once() -> T:
            with _store_faults():
                return await operation()

        return await with_retries(
            once,
            attempts=ATTEMPTS,
            deadline_seconds=deadline_seconds,
            on_timeout=lambda: StoreUnavailableError(
                f"The vector store (Redis) did not answer within {deadline_seconds:g} seconds. Try again in a moment."
            ),
        )


def _lacks_index(error: ResponseError) -> bool:
    return any(words in str(error).lower() for words in NO_INDEX)


@contextmanager
def _store_faults() -> Iterator[None]:
    try:
        yield
    except AuthenticationError as error:
        raise ConfigurationError("The vector store (Redis) refused the password. Check VECTOR_REDIS_URL.") from error
    except ResponseError as error:
        if "unknown command" in str(error).lower():
            raise ConfigurationError(
                "The Redis server at VECTOR_REDIS_URL has no search (FT.*). Use Redis 8, MemoryDB or Valkey from 8.2, "
                "or choose another VECTOR_STORE."
            ) from error
        raise ConfigurationError(f"The vector store (Redis) refused a request: {str(error)[:200]}") from error
    except (RedisError, OSError) as error:
        raise StoreUnavailableError(f"The vector store (Redis) does not answer ({type(error).__name__}).") from error


@asynccontextmanager
async def open_redis_store(url: str, *, collection: str) -> AsyncIterator[RedisStore]:
    """A store on the server at `url`; connects at its first command, closes at the end."""
    # The replies of FT.SEARCH differ between servers under the newer protocol.
    async with open_redis(url, protocol=2) as client:
        yield RedisStore(client, collection)
