"""The S3 Vectors double is held against AWS's own client, on the same indexes that Headrace uses; and the store's edges."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from headrace.clients.aws import AwsAccess
from headrace.clients.sigv4 import AwsKeys
from headrace.errors import ConfigurationError, InvalidInputError
from headrace.stores.s3vectors import S3VectorStore, open_s3_vector_store
from headrace.stores.s3vectors_wire import tenant_index
from headrace.types import DocumentKey, EmbeddedChunk, Query, Scope, SearchRequest
from tests.support.chunks import DIMENSIONS, chunks, vector
from tests.support.http import served
from tests.support.s3vectors_server import REGION, S3Vectors, s3vectors_app

KEYS = AwsKeys("AKIDVECTORS", "vectors/secret", "token")
BUCKET = "vectors"


@pytest.fixture
async def url() -> AsyncIterator[str]:
    secrets = {KEYS.access_key_id: Credentials(KEYS.access_key_id, KEYS.secret_access_key)}
    async with served(s3vectors_app(S3Vectors(), secrets.get)) as url:
        yield url


@pytest.fixture
def client(url: str) -> Any:
    return boto3.client(
        "s3vectors",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=KEYS.access_key_id,
        aws_secret_access_key=KEYS.secret_access_key,
        aws_session_token=KEYS.session_token,
    )


@pytest.fixture
async def store(url: str, client: Any, stack: AsyncExitStack) -> S3VectorStore:
    await asyncio.to_thread(client.create_vector_bucket, vectorBucketName=BUCKET)
    return await stack.enter_async_context(opening(url))


def opening(url: str, keys: AwsKeys = KEYS) -> Any:
    return open_s3_vector_store(AwsAccess(REGION, keys, url), bucket=BUCKET, collection="headrace-test")


async def test_awss_client_reads_what_headrace_writes(store: S3VectorStore, client: Any, tenant: str) -> None:
    await store.ensure(DIMENSIONS)
    await store.upsert(chunks(tenant, groups=("hr",)))
    at = {"vectorBucketName": BUCKET, "indexName": tenant_index("headrace-test", tenant)}
    asked: dict[str, Any] = {
        "queryVector": {"float32": list(vector("text 1 of a.txt 1"))},
        "topK": 5,
        "returnDistance": True,
    }
    found = await asyncio.to_thread(client.query_vectors, **at, **asked, filter={"page": {"$gte": 2}})
    assert [round(each["distance"], 4) for each in found["vectors"]][:1] == [0.0]
    assert [each["key"][-1] for each in found["vectors"]] == ["1", "2"]
    pages = client.get_paginator("list_vectors").paginate(**at, PaginationConfig={"PageSize": 2})
    listed = await asyncio.to_thread(lambda: [each for page in pages for each in page["vectors"]])
    assert len(listed) == 3


@pytest.mark.parametrize(
    ("operation", "given", "kind"),
    [
        ("query_vectors", {"queryVector": {"float32": [1.0]}, "topK": 5}, "ValidationException"),
        ("query_vectors", {"queryVector": {"float32": [1.0] * DIMENSIONS}, "topK": 101}, "ValidationException"),
        ("put_vectors", {"vectors": [{"key": "a", "data": {"float32": [0.0] * DIMENSIONS}}]}, "ValidationException"),
        ("delete_vectors", {"keys": ["a"], "indexName": "another"}, "NotFoundException"),
    ],
)
async def test_the_double_refuses_what_the_service_does(
    store: S3VectorStore, client: Any, tenant: str, operation: str, given: dict[str, Any], kind: str
) -> None:
    await store.ensure(DIMENSIONS)
    await store.upsert(chunks(tenant, count=1))
    at = {"vectorBucketName": BUCKET, "indexName": tenant_index("headrace-test", tenant)}
    with pytest.raises(ClientError) as caught:
        await asyncio.to_thread(getattr(client, operation), **{**at, **given})
    assert caught.value.response["Error"]["Code"] == kind


async def test_generations_of_hundreds_of_chunks_go_whole_and_alone(store: S3VectorStore, tenant: str) -> None:
    await store.ensure(DIMENSIONS)
    for generation in (1, 2, 3, 4):
        await store.upsert(chunks(tenant, generation=generation, count=230))
    key = DocumentKey(f"documents/{tenant}/a.txt")
    await store.delete_older(key, before=3)
    assert await store.count(tenant) == 460
    await store.delete_generation(key, generation=4)
    assert {chunk.generation async for chunk in store.scan(tenant)} == {3}
    assert await store.count(tenant) == 230


async def test_long_chunks_of_rare_words_are_found_by_each_of_them(store: S3VectorStore, tenant: str) -> None:
    await store.ensure(DIMENSIONS)
    words = [f"word{number}x" for number in range(250)]
    long = replace(chunks(tenant, count=1)[0].chunk, text=" ".join(words))
    others = [EmbeddedChunk(each.chunk, vector("near")) for each in chunks(tenant, "b.txt", count=120)]
    await store.upsert([EmbeddedChunk(long, vector("far")), *others])
    for word in (words[0], words[-1]):
        request = SearchRequest(Scope(tenant), [Query(word, vector("near"))], 5, dense_weight=0.01)
        found = (await store.search(request)).passages
        assert found[0].chunk.text == long.text, word


async def test_more_labels_than_can_be_filtered_by_are_refused(store: S3VectorStore, tenant: str) -> None:
    await store.ensure(DIMENSIONS)
    with pytest.raises(InvalidInputError, match="2 KB a chunk"):
        await store.upsert(chunks(tenant, groups=tuple(f"group-{number}" for number in range(200))))


async def test_a_bucket_that_is_not_there_and_a_key_that_is_refused_are_told(url: str, store: S3VectorStore) -> None:
    async with open_s3_vector_store(AwsAccess(REGION, KEYS, url), bucket="another", collection="another") as other:
        for call in (other.check(), other.ensure(DIMENSIONS)):
            with pytest.raises(ConfigurationError, match="no vector bucket 'another'"):
                await call
    async with opening(url, AwsKeys("AKIDSTRANGER", "x")) as stranger:
        with pytest.raises(ConfigurationError, match="role may call s3vectors"):
            await stranger.check()
