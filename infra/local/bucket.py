"""The bucket and the queue of the local stack, wired as template.yaml wires them; and what a restart has to make up for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from headrace import wiring
from headrace.messages import object_changed
from headrace.settings import Settings
from headrace.types import DOCUMENTS_PREFIX, DocumentKey, DocumentState

QUEUE = "headrace-ingest"
DEAD_LETTERS = "headrace-ingest-dead-letters"
DEAD_LETTERS_ARN = f"arn:aws:sqs:us-east-1:000000000000:{DEAD_LETTERS}"
VISIBILITY_SECONDS = 1800
MAX_RECEIVES = 5
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
}


class LocalBucket:
    """The emulator's bucket and queue. Its methods block; the stack has nothing else to do meanwhile."""

    def __init__(self, endpoint_url: str, bucket: str) -> None:
        session = boto3.Session(
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            region_name=CREDENTIALS["AWS_REGION"],
        )
        config = Config(retries={"max_attempts": 3, "mode": "standard"})
        self._s3 = session.client("s3", endpoint_url=endpoint_url, config=config)
        self._sqs = session.client("sqs", endpoint_url=endpoint_url, config=config)
        self._bucket = bucket
        self.queue_url = ""
        self.dead_letters_url = ""

    def set_up(self) -> None:
        """Make what is missing."""
        self.dead_letters_url = self._sqs.create_queue(QueueName=DEAD_LETTERS)["QueueUrl"]
        redrive = json.dumps({"deadLetterTargetArn": self._arn(self.dead_letters_url), "maxReceiveCount": MAX_RECEIVES})
        attributes = {"VisibilityTimeout": str(VISIBILITY_SECONDS), "RedrivePolicy": redrive}
        self.queue_url = self._sqs.create_queue(QueueName=QUEUE, Attributes=attributes)["QueueUrl"]
        self._create_bucket()
        self._s3.put_bucket_versioning(Bucket=self._bucket, VersioningConfiguration={"Status": "Enabled"})
        notification = {
            "QueueArn": self._arn(self.queue_url),
            "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": DOCUMENTS_PREFIX}]}},
        }
        self._s3.put_bucket_notification_configuration(
            Bucket=self._bucket, NotificationConfiguration={"QueueConfigurations": [notification]}
        )

    def upload(self, folder: Path) -> list[str]:
        """Put every sample document into the bucket; returns their keys."""
        files = sorted(path for path in folder.iterdir() if path.suffix not in {".py", ".pyc"} and path.is_file())
        for path in files:
            self._s3.upload_file(str(path), self._bucket, f"{DOCUMENTS_PREFIX}{path.name}")
        return [f"{DOCUMENTS_PREFIX}{path.name}" for path in files]

    async def enqueue_differences(self, settings: Settings) -> int:
        """Send a notification for each document whose registry record is not what the bucket holds; returns how many.

        The emulator's queue forgets at a restart what AWS's would keep.
        """
        count = 0
        async for key in self._differences(settings):
            message = {"QueueUrl": self.queue_url, "MessageBody": object_changed(key)}
            await asyncio.to_thread(partial(self._sqs.send_message, **message))
            count += 1
        return count

    async def _differences(self, settings: Settings) -> AsyncIterator[str]:
        held = await asyncio.to_thread(self._etags)
        async with wiring.open_redis(settings) as redis:
            registry = wiring.registry_on(redis)
            tenants = {DocumentKey(key).tenant for key in held} | set(await registry.tenants())
            known = {d.key: d for tenant in sorted(tenants) for d in await registry.documents(tenant)}
        for key, etag in held.items():
            document = known.get(key)
            done = document is not None and document.state in {DocumentState.READY, DocumentState.FAILED}
            if not (document and done and document.etag == etag):
                yield key
        for key in known.keys() - held.keys():
            yield key

    def _etags(self) -> dict[str, str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=DOCUMENTS_PREFIX)
        held = {entry["Key"]: entry["ETag"].strip('"') for page in pages for entry in page.get("Contents", [])}
        return {key: etag for key, etag in held.items() if DocumentKey(key).is_document}

    def _create_bucket(self) -> None:
        try:
            self._s3.head_bucket(Bucket=self._bucket)
        except ClientError:
            self._s3.create_bucket(Bucket=self._bucket)

    def _arn(self, queue_url: str) -> str:
        answer: dict[str, Any] = self._sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
        arn: str = answer["Attributes"]["QueueArn"]
        return arn
