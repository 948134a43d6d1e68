"""Amazon S3 (or an emulator of it) through boto3, whose calls run in a bounded thread pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from headrace.concurrency.threads import open_threads
from headrace.errors import BucketUnavailableError, DocumentError
from headrace.types import DOCUMENTS_PREFIX, DocumentKey, ObjectVersion, read_names

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

THREADS = 8
PART_BYTES = 1024 * 1024
MISSING = frozenset({"404", "NoSuchKey", "NoSuchVersion"})


class S3Bucket:
    """A Bucket on a boto3 S3 client."""

    def __init__(self, client: Any, bucket: str, executor: ThreadPoolExecutor) -> None:
        self._client = client
        self._bucket = bucket
        self._executor = executor

    async def check(self) -> None:
        await self._run(lambda: self._client.head_bucket(Bucket=self._bucket))

    async def fetch(self, key: str, path: Path, *, max_bytes: int) -> ObjectVersion | None:
        return await self._run(lambda: self._download(key, path, max_bytes))

    async def read(self, key: str, *, max_bytes: int) -> tuple[ObjectVersion, bytes] | None:
        def call() -> tuple[ObjectVersion, bytes]:
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            with closing(answer["Body"]) as body:
                return _version(key, answer), body.read(max_bytes)

        return await self._run(call)

    async def head(self, key: str) -> ObjectVersion | None:
        def call() -> ObjectVersion | None:
            return _version(key, self._client.head_object(Bucket=self._bucket, Key=key))

        return await self._run(call)

    async def objects(self, prefix: str) -> AsyncIterator[ObjectVersion]:
        token: str | None = ""
        while token is not None:
            page = await self._run(partial(self._page, prefix, token)) or {}
            for entry in page.get("Contents", []):
                modified_at = entry["LastModified"].timestamp()
                yield ObjectVersion(entry["Key"], entry["ETag"].strip('"'), entry["Size"], modified_at)
            token = page.get("NextContinuationToken")

    async def tenants(self) -> list[str]:
        # One page tells whether the default tenant has documents; folders come page by page.
        found: set[str] = set()
        token: str | None = ""
        while token is not None:
            page = await self._run(partial(self._page, DOCUMENTS_PREFIX, token, delimiter="/")) or {}
            keys = [entry["Key"] for entry in page.get("Contents", [])]
            keys += [f"{entry['Prefix']}x" for entry in page.get("CommonPrefixes", [])]
            found |= {key.tenant for key in map(DocumentKey, keys) if key.is_document}
            token = page.get("NextContinuationToken")
        return sorted(found)

    def _page(self, prefix: str, token: str, delimiter: str = "") -> dict[str, Any]:
        more = {"ContinuationToken": token} if token else {}
        more |= {"Delimiter": delimiter} if delimiter else {}
        page: dict[str, Any] = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **more)
        return page

    def _download(self, key: str, path: Path, max_bytes: int) -> ObjectVersion:
        answer = self._client.get_object(Bucket=self._bucket, Key=key)
        with closing(answer["Body"]) as body:
            version = _version(key, answer)
            if version.size_bytes > max_bytes:
                raise DocumentError(
                    f"The file has {version.size_bytes:,} bytes, more than the limit of {max_bytes:,}. "
                    "Split it, or raise MAX_DOCUMENT_BYTES."
                )
            with path.open("wb") as file:
                for part in body.iter_chunks(PART_BYTES):
                    file.write(part)
        return version

    async def _run(self, call: Callable[[], T]) -> T | None:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, call)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in MISSING:
                return None
            raise BucketUnavailableError(
                f"The bucket {self._bucket!r} refused a request ({code}). Check its name and the function's permissions."
            ) from error
        except (BotoCoreError, OSError) as error:
            raise BucketUnavailableError(
                f"The bucket {self._bucket!r} does not answer ({type(error).__name__}). Try again in a moment."
            ) from error


@asynccontextmanager
async def open_s3_bucket(bucket: str) -> AsyncIterator[S3Bucket]:
    """The bucket of that name, with the credentials, region and endpoint that boto3 finds in its own way."""
    config = Config(
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=THREADS,
        retries={"mode": "standard", "max_attempts": 4},
    )
    async with open_threads(THREADS, "s3") as executor:
        client = await asyncio.get_running_loop().run_in_executor(executor, lambda: boto3.client("s3", config=config))
        try:
            yield S3Bucket(client, bucket, executor)
        finally:
            client.close()


def _version(key: str, answer: Mapping[str, Any]) -> ObjectVersion:
    return ObjectVersion(
        key=key,
        etag=answer["ETag"].strip('"'),
        size_bytes=answer["ContentLength"],
        modified_at=answer["LastModified"].timestamp(),
        version_id=answer.get("VersionId"),
        content_type=answer.get("ContentType", ""),
        groups=read_names(answer.get("Metadata", {}).get("groups", "")),
        tags=read_names(answer.get("Metadata", {}).get("tags", "")),
        create_only=answer.get("Metadata", {}).get("create-only", ""),
    )
