"""The bucket and the queue of the local stack, wired as template.yaml wires them; and what a restart has to make up for."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from headrace import wiring
from headrace.buckets.s3 import THREADS, S3Bucket
from headrace.concurrency.threads import open_threads
from headrace.queues.messages import object_changed
from headrace.settings import Settings
from headrace.types import DOCUMENTS_PREFIX, tenant_prefix

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

        The emulator's queue forgets at a restart what AWS's would keep: nobody is at work on what is on its way.
        """
        from functions.ingest.main import recipe_of
        from functions.ingest.reconcile import find_outdated

        async with wiring.open_redis(settings) as redis, open_threads(THREADS, "s3") as executor:
            registry, bucket = wiring.registry_on(redis), S3Bucket(self._s3, self._bucket, executor)
            place: dict[str, Any] = {"bucket": bucket, "registry": registry, "recipe": recipe_of(settings)}
            tenants = {*await bucket.tenants(), *await registry.tenants()}
            found = [
                d
                for name in sorted(tenants)
                for d in await find_outdated(name, tenant_prefix(name), **place, after_seconds=0)
            ]
        for difference in found:
            message = {"QueueUrl": self.queue_url, "MessageBody": object_changed(difference.key)}
            await asyncio.to_thread(partial(self._sqs.send_message, **message))
        return len(found)

    def _create_bucket(self) -> None:
        try:
            self._s3.head_bucket(Bucket=self._bucket)
        except ClientError:
            self._s3.create_bucket(Bucket=self._bucket)

    def _arn(self, queue_url: str) -> str:
        answer: dict[str, Any] = self._sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
        arn: str = answer["Attributes"]["QueueArn"]
        return arn
