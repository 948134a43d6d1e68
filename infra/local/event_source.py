"""Lambda's event source mapping for SQS, on a laptop: polls the queue and hands batches to the ingest function.

    python -m infra.local.event_source [--lambda]

Takes QUEUE_URL and the AWS settings from the environment. Messages that the
handler does not name in `batchItemFailures` are deleted, as Lambda does.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import boto3

from headrace.settings import Settings
from infra.local.invoker import Invoke, invoker

BATCH = 10
WAIT_SECONDS = 10
TIMEOUT_SECONDS = 300.0
# Lambda leaves a failed message hidden for the queue's visibility timeout; nobody at a laptop waits that long.
RETRY_SECONDS = 5

logger = logging.getLogger(__name__)


def main() -> None:
    """Poll for ever."""
    queue_url = Settings.from_env(os.environ).queue_url
    sqs = boto3.client("sqs")
    as_lambda = "--lambda" in sys.argv[1:]
    handler = "functions.ingest.main.handler"
    with invoker("ingest", handler, timeout_seconds=TIMEOUT_SECONDS, as_lambda=as_lambda) as invoke:
        _poll(sqs, queue_url, invoke)


def _poll(sqs: Any, queue_url: str, invoke: Invoke) -> None:
    while True:
        answer = sqs.receive_message(
            QueueUrl=queue_url, MaxNumberOfMessages=BATCH, WaitTimeSeconds=WAIT_SECONDS,
            MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"],
        )  # fmt: skip
        if answer.get("Messages"):
            _hand_over(sqs, queue_url, answer["Messages"], invoke)


def _hand_over(sqs: Any, queue_url: str, messages: list[dict[str, Any]], invoke: Invoke) -> None:
    failed = _failures(messages, invoke)
    for message in messages:
        receipt = {"QueueUrl": queue_url, "ReceiptHandle": message["ReceiptHandle"]}
        if message["MessageId"] in failed:
            sqs.change_message_visibility(**receipt, VisibilityTimeout=RETRY_SECONDS)
        else:
            sqs.delete_message(**receipt)


def _failures(messages: list[dict[str, Any]], invoke: Invoke) -> set[str]:
    """The messages that are to come again: those that the handler names, or all when it fails."""
    try:
        response = invoke(sqs_event(messages))
    except Exception:
        logger.exception("the ingest function failed")
        return {message["MessageId"] for message in messages}
    return {failure["itemIdentifier"] for failure in response.get("batchItemFailures", [])}


def sqs_event(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """SQS messages in the form that Lambda hands over (https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html)."""
    return {"Records": [_record(message) for message in messages]}


def _record(message: dict[str, Any]) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": message.get("MessageAttributes", {}),
        "md5OfBody": message.get("MD5OfBody", ""),
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:headrace-ingest",
        "awsRegion": "us-east-1",
    }


if __name__ == "__main__":
    main()
