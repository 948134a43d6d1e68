"""Lambda's event source mapping for SQS, on a laptop: polls the queue and hands batches to the ingest function.

    python -m infra.local.event_source --dead-letters URL [--lambda]

Takes QUEUE_URL, DEAD_LETTERS_ARN and the AWS settings from the environment. Messages that the handler does not name in
`batchItemFailures` are deleted, as Lambda does.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import boto3
from botocore.config import Config

from functions.ingest.main import DEADLINE_MARGIN_SECONDS, handle_batch, open_dependencies
from headrace.settings import Settings
from infra.local.invoker import invoker

WAIT_SECONDS = 10
# As many as the template lets run at one time.
AT_ONCE = 30
TIMEOUT_SECONDS = 300.0
# Lambda leaves a failed message hidden for the queue's visibility timeout; nobody at a laptop waits that long.
RETRY_SECONDS = 5

Invoke = Callable[[dict[str, Any]], Awaitable[Any]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A queue that the function is fed from."""

    url: str
    arn: str
    wait_seconds: int


def main() -> None:
    """Poll for ever."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dead-letters", required=True, help="the dead-letter queue's URL")
    parser.add_argument("--lambda", dest="as_lambda", action="store_true", help="run the function as a Lambda process")
    given = parser.parse_args()
    settings = Settings.from_env(os.environ)
    sources = [
        Source(settings.queue_url, "arn:aws:sqs:us-east-1:000000000000:headrace-ingest", WAIT_SECONDS),
        Source(given.dead_letters, settings.dead_letters_arn, WAIT_SECONDS),
    ]
    handler = "functions.ingest.main.handler"
    if given.as_lambda:
        with invoker("ingest", handler, timeout_seconds=TIMEOUT_SECONDS, as_lambda=True) as invoke:
            asyncio.run(_serve(sources, lambda event: asyncio.to_thread(invoke, event), at_once=1))
    else:
        asyncio.run(_serve_here(sources))


async def _serve_here(sources: list[Source]) -> None:
    """As many environments as Lambda would run are one process's tasks here."""
    async with open_dependencies() as deps:
        handle = partial(handle_batch, deps=deps, deadline_seconds=TIMEOUT_SECONDS - DEADLINE_MARGIN_SECONDS)
        await _serve(sources, handle, at_once=AT_ONCE)


async def _serve(sources: list[Source], invoke: Invoke, *, at_once: int) -> None:
    sqs = boto3.client("sqs", config=Config(max_pool_connections=2 * at_once + len(sources)))
    gate = asyncio.Semaphore(at_once)
    async with asyncio.TaskGroup() as tasks:
        for source in sources:
            tasks.create_task(_poll(sqs, source, invoke, gate, tasks))


async def _poll(
    sqs: Any, source: Source, invoke: Invoke, gate: asyncio.Semaphore, tasks: asyncio.TaskGroup
) -> NoReturn:
    """Take messages one by one, as template.yaml has it, whenever there is room to handle one."""
    receive = partial(
        sqs.receive_message, QueueUrl=source.url, MaxNumberOfMessages=1, WaitTimeSeconds=source.wait_seconds,
        MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"],
    )  # fmt: skip
    while True:
        # A message is taken when there is room for it, and takes its place in its own task.
        await gate.acquire()
        gate.release()
        answer = await asyncio.to_thread(receive)
        for message in answer.get("Messages", ()):
            tasks.create_task(_hand_over(sqs, source, message, invoke, gate))


async def _hand_over(
    sqs: Any, source: Source, message: dict[str, Any], invoke: Invoke, gate: asyncio.Semaphore
) -> None:
    async with gate:
        failed = await _failures(source, [message], invoke)
    receipt = {"QueueUrl": source.url, "ReceiptHandle": message["ReceiptHandle"]}
    if message["MessageId"] in failed:
        await asyncio.to_thread(sqs.change_message_visibility, **receipt, VisibilityTimeout=RETRY_SECONDS)
    else:
        await asyncio.to_thread(sqs.delete_message, **receipt)


async def _failures(source: Source, messages: list[dict[str, Any]], invoke: Invoke) -> set[str]:
    """The messages that are to come again: those that the handler names, or all when it fails."""
    try:
        response = await invoke(sqs_event(source.arn, messages))
    except Exception:
        logger.exception("the ingest function failed")
        return {message["MessageId"] for message in messages}
    return {failure["itemIdentifier"] for failure in response.get("batchItemFailures", [])}


def sqs_event(arn: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """SQS messages in the form that Lambda hands over (https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html)."""
    return {"Records": [_record(arn, message) for message in messages]}


def _record(arn: str, message: dict[str, Any]) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": message.get("MessageAttributes", {}),
        "md5OfBody": message.get("MD5OfBody", ""),
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": "us-east-1",
    }


if __name__ == "__main__":
    main()
