"""Lambda's event source mapping for SQS, on a laptop: polls the queue and hands batches to the ingest function.

    python -m infra.local.event_source --dead-letters URL [--lambda]

Takes QUEUE_URL, DEAD_LETTERS_ARN and the AWS settings from the environment. Messages that the handler does not name in
`batchItemFailures` are deleted, as Lambda does.
"""

from __future__ import annotations

import argparse
import logging
import os
from dataclasses import dataclass
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
        Source(given.dead_letters, settings.dead_letters_arn, 0),
    ]
    sqs = boto3.client("sqs")
    handler = "functions.ingest.main.handler"
    with invoker("ingest", handler, timeout_seconds=TIMEOUT_SECONDS, as_lambda=given.as_lambda) as invoke:
        while True:
            for source in sources:
                _poll(sqs, source, invoke)


def _poll(sqs: Any, source: Source, invoke: Invoke) -> None:
    answer = sqs.receive_message(
        QueueUrl=source.url, MaxNumberOfMessages=BATCH, WaitTimeSeconds=source.wait_seconds,
        MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"],
    )  # fmt: skip
    if answer.get("Messages"):
        _hand_over(sqs, source, answer["Messages"], invoke)


def _hand_over(sqs: Any, source: Source, messages: list[dict[str, Any]], invoke: Invoke) -> None:
    failed = _failures(source, messages, invoke)
    for message in messages:
        receipt = {"QueueUrl": source.url, "ReceiptHandle": message["ReceiptHandle"]}
        if message["MessageId"] in failed:
            sqs.change_message_visibility(**receipt, VisibilityTimeout=RETRY_SECONDS)
        else:
            sqs.delete_message(**receipt)


def _failures(source: Source, messages: list[dict[str, Any]], invoke: Invoke) -> set[str]:
    """The messages that are to come again: those that the handler names, or all when it fails."""
    try:
        response = invoke(sqs_event(source.arn, messages))
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
