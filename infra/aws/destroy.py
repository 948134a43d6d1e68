"""Takes a stage down, and says what stays."""

from __future__ import annotations

from collections.abc import Callable

import boto3
from botocore.exceptions import ClientError, WaiterError

from infra.aws.stacks import find_stack, name_of, why_it_failed
from infra.aws.toolchain import ToolchainError, check_account

Report = Callable[[str], None]


def destroy(stage: str, *, report: Report) -> None:
    """Delete the stack; the bucket of documents stays. Raises ToolchainError."""
    account, region = check_account()
    name = name_of(stage)
    stack = find_stack(name)
    if stack is None:
        raise ToolchainError(f"There is no stack {name} in account {account}, {region}.")
    bucket = stack.outputs.get("Bucket")
    if bucket:
        _detach(bucket, name)
    client = boto3.client("cloudformation")
    client.delete_stack(StackName=name)
    try:
        client.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 5, "MaxAttempts": 240})
    except WaiterError as error:
        raise ToolchainError("\n  ".join([f"{name} could not be taken down:", *why_it_failed(name)])) from error
    report(f"{name} is gone: functions, queues, cache (registry, cached answers, conversations), roles, logs, alarms.")
    if bucket:
        report(
            f"Kept: the bucket {bucket} with its documents. A new stack takes it up: make deploy STAGE={stage} PARAMETERS='ExistingBucket={bucket}'"
        )
        report('To delete it, old versions and all: docs/deploy.md, "Down, for good".')
    if "SetSecret" in stack.outputs:
        report(
            f"The secret can be restored for 30 days: aws secretsmanager restore-secret --secret-id {stack.outputs['SecretArn']}"
        )
    if "VectorBucket" in stack.outputs:
        _delete_vectors(stack.outputs["VectorBucket"])
        report(
            "The vector bucket is gone with its chunks: they are made of the documents, and are made again by `make backfill`."
        )
    else:
        report("Kept: the collection in your vector store, which this stack has never owned.")


def _delete_vectors(bucket: str) -> None:
    """The indexes, then the bucket: one that holds something can't be deleted."""
    s3vectors = boto3.client("s3vectors")
    try:
        for page in s3vectors.get_paginator("list_indexes").paginate(vectorBucketName=bucket):
            for index in page["indexes"]:
                s3vectors.delete_index(vectorBucketName=bucket, indexName=index["indexName"])
        s3vectors.delete_vector_bucket(vectorBucketName=bucket)
    except ClientError as error:
        raise ToolchainError(
            f"The vector bucket {bucket} could not be deleted: {error}. Delete it with `aws s3vectors`; the rest of the stack is gone."
        ) from error


def _detach(bucket: str, name: str) -> None:
    """The bucket tells the stack's queues nothing any more: S3 keeps no notification for a queue that is gone."""
    s3 = boto3.client("s3")
    try:
        now = s3.get_bucket_notification_configuration(Bucket=bucket)
        now.pop("ResponseMetadata", None)
        others = [each for each in now.get("QueueConfigurations", []) if f":{name}-" not in each["QueueArn"]]
        if len(others) < len(now.get("QueueConfigurations", [])):
            s3.put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration={**now, "QueueConfigurations": others}
            )
    except ClientError as error:
        raise ToolchainError(f"{bucket} still tells {name} of its changes: {error}. Nothing was taken down.") from error
