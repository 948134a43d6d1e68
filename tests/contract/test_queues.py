"""What every queue promises, asked of an SQS API over HTTP."""

from __future__ import annotations

import asyncio
import uuid

import boto3
import pytest

from headrace.errors import QueueUnavailableError
from headrace.queues.sqs import open_sqs_queue
from infra.local.bucket import CREDENTIALS
from infra.local.processes import free_port


@pytest.fixture
def aws_environment(aws_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": aws_url, "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def queue_url(aws_environment: None) -> str:
    url: str = boto3.client("sqs").create_queue(QueueName=f"queue-{uuid.uuid4().hex[:12]}")["QueueUrl"]
    return url


async def test_every_message_arrives_as_it_was_sent(queue_url: str) -> None:
    sent = [f"message {i} ü" for i in range(23)]
    async with open_sqs_queue(queue_url) as queue:
        await queue.send(sent)
        await queue.send([])
    received: set[str] = set()
    sqs = boto3.client("sqs")
    while len(received) < len(sent):
        answer = await asyncio.to_thread(lambda: sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10))
        received |= {message["Body"] for message in answer["Messages"]}
    assert received == set(sent)


async def test_a_message_comes_again_when_it_is_told_to(queue_url: str) -> None:
    sqs = boto3.client("sqs")
    async with open_sqs_queue(queue_url) as queue:
        await queue.send(["x"])
        received = await asyncio.to_thread(lambda: sqs.receive_message(QueueUrl=queue_url, VisibilityTimeout=600))
        await queue.show_again(received["Messages"][0]["ReceiptHandle"], seconds=0)
        again = await asyncio.to_thread(lambda: sqs.receive_message(QueueUrl=queue_url, WaitTimeSeconds=2))
        assert [message["Body"] for message in again["Messages"]] == ["x"]
        with pytest.raises(QueueUnavailableError, match="by itself later"):
            await queue.show_again("no receipt", seconds=0)


async def test_a_queue_that_is_gone_is_unavailable(queue_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    async with open_sqs_queue(queue_url) as queue:
        with pytest.raises(QueueUnavailableError, match="QUEUE_URL"):
            await queue.send(["x"])
