"""Amazon SQS (or an emulator of it) through boto3, whose calls run in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from headrace.concurrency.threads import open_threads
from headrace.errors import QueueUnavailableError

# SQS takes so many messages in one request.
BATCH = 10


class SqsQueue:
    """A Queue on a boto3 SQS client."""

    def __init__(self, client: Any, url: str, executor: ThreadPoolExecutor) -> None:
        self._client = client
        self._url = url
        self._executor = executor

    async def send(self, bodies: Sequence[str]) -> None:
        for start in range(0, len(bodies), BATCH):
            batch = bodies[start : start + BATCH]
            await asyncio.get_running_loop().run_in_executor(self._executor, self._send, batch)

    async def show_again(self, receipt: str, *, seconds: int) -> None:
        await asyncio.get_running_loop().run_in_executor(self._executor, self._show_again, receipt, seconds)

    def _show_again(self, receipt: str, seconds: int) -> None:
        try:
            self._client.change_message_visibility(QueueUrl=self._url, ReceiptHandle=receipt, VisibilityTimeout=seconds)
        except (ClientError, BotoCoreError, OSError) as error:
            raise QueueUnavailableError(
                f"The queue does not show a message again ({type(error).__name__}); it does so by itself later."
            ) from error

    def _send(self, bodies: Sequence[str]) -> None:
        entries = [{"Id": str(place), "MessageBody": body} for place, body in enumerate(bodies)]
        try:
            answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        except (ClientError, BotoCoreError, OSError) as error:
            raise QueueUnavailableError(
                f"The queue does not answer ({type(error).__name__}). Check QUEUE_URL and try again in a moment."
            ) from error
        if answer.get("Failed"):
            raise QueueUnavailableError(f"The queue refused {len(answer['Failed'])} messages. Try again in a moment.")


@asynccontextmanager
async def open_sqs_queue(url: str) -> AsyncIterator[SqsQueue]:
    """The queue at that URL, with the credentials, region and endpoint that boto3 finds in its own way."""
    config = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": 4})
    async with open_threads(1, "sqs") as executor:
        client = await asyncio.get_running_loop().run_in_executor(executor, lambda: boto3.client("sqs", config=config))
        try:
            yield SqsQueue(client, url, executor)
        finally:
            client.close()
