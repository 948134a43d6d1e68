"""What every bucket promises, asked of an S3 API over HTTP."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest

from headrace.buckets.s3 import open_s3_bucket
from headrace.errors import BucketUnavailableError, DocumentError
from headrace.protocols import Bucket
from infra.local.bucket import CREDENTIALS
from infra.local.processes import free_port


@pytest.fixture
def aws_environment(aws_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": aws_url, "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bucket_name(aws_environment: None) -> str:
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def s3(aws_environment: None) -> Any:
    return boto3.client("s3")


@pytest.fixture(params=["s3"])
async def any_bucket(request: pytest.FixtureRequest, bucket_name: str) -> AsyncIterator[Bucket]:
    async with open_s3_bucket(bucket_name) as bucket:
        yield bucket


async def test_an_object_comes_with_what_the_bucket_says_of_it(
    any_bucket: Bucket, bucket_name: str, s3: Any, tmp_path: Path
) -> None:
    key = "documents/t/größe & +.txt"
    await asyncio.to_thread(s3.put_object, Bucket=bucket_name, Key=key, Body=b"hello", ContentType="text/plain")
    path = tmp_path / "file"
    version = await any_bucket.fetch(key, path, max_bytes=100)
    assert version is not None
    assert (version.key, version.size_bytes, version.content_type) == (key, 5, "text/plain")
    assert await asyncio.to_thread(path.read_bytes) == b"hello"
    assert await any_bucket.head(key) == version


async def test_what_is_not_there_is_none(any_bucket: Bucket, tmp_path: Path) -> None:
    assert await any_bucket.head("documents/none") is None
    assert await any_bucket.fetch("documents/none", tmp_path / "file", max_bytes=1) is None


async def test_what_is_too_large_is_not_read(any_bucket: Bucket, bucket_name: str, s3: Any, tmp_path: Path) -> None:
    await asyncio.to_thread(s3.put_object, Bucket=bucket_name, Key="k", Body=b"x" * 1001)
    with pytest.raises(DocumentError, match="1,001 bytes, more than the limit of 1,000"):
        await any_bucket.fetch("k", tmp_path / "file", max_bytes=1000)


async def test_every_object_is_listed_page_after_page(any_bucket: Bucket, bucket_name: str, s3: Any) -> None:
    keys = [f"documents/{i:04}" for i in range(1003)]
    for key in keys:
        await asyncio.to_thread(s3.put_object, Bucket=bucket_name, Key=key, Body=b"")
    await asyncio.to_thread(s3.put_object, Bucket=bucket_name, Key="other/x", Body=b"")
    assert [version.key async for version in any_bucket.objects("documents/")] == keys


async def test_a_bucket_that_does_not_answer_is_unavailable(
    aws_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    async with open_s3_bucket("b") as bucket:
        with pytest.raises(BucketUnavailableError, match="does not answer"):
            await bucket.check()


async def test_a_version_tells_the_groups_that_its_metadata_names(
    any_bucket: Bucket, bucket_name: str, s3: Any, tmp_path: Path
) -> None:
    key = "documents/a.txt"
    put = {"Bucket": bucket_name, "Key": key, "Body": b"x", "Metadata": {"groups": " ops,hr , hr"}}
    await asyncio.to_thread(lambda: s3.put_object(**put))
    seen = await any_bucket.head(key)
    fetched = await any_bucket.fetch(key, tmp_path / "a", max_bytes=10)
    assert seen is not None
    assert fetched is not None
    assert seen.groups == fetched.groups == ("hr", "ops")


async def test_tenants_are_told_from_folders(any_bucket: Bucket, bucket_name: str, s3: Any) -> None:
    assert await any_bucket.tenants() == []
    for key in ("documents/acme/a", "documents/groups=hr/b", "documents/ü x/c/d", "documents/", "other/e/f"):
        await asyncio.to_thread(partial(s3.put_object, Bucket=bucket_name, Key=key, Body=b"x"))
    assert await any_bucket.tenants() == ["acme", "default", "ü x"]


async def test_a_small_object_is_read_with_its_labels(any_bucket: Bucket, s3: Any, bucket_name: str) -> None:
    metadata = {"groups": "hr, board", "tags": "policy,2026"}
    await asyncio.to_thread(
        partial(s3.put_object, Bucket=bucket_name, Key="documents/a.json", Body=b"0123456789", Metadata=metadata)
    )
    found = await any_bucket.read("documents/a.json", max_bytes=4)
    assert found is not None
    version, content = found
    assert content == b"0123"
    assert (version.size_bytes, version.groups, version.tags) == (10, ("board", "hr"), ("2026", "policy"))
    assert await any_bucket.read("documents/none.json", max_bytes=4) is None
