"""Takes a stage down, and says what stays."""

from __future__ import annotations

from collections.abc import Callable

import boto3
from botocore.exceptions import WaiterError

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
    client = boto3.client("cloudformation")
    client.delete_stack(StackName=name)
    try:
        client.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 5, "MaxAttempts": 240})
    except WaiterError as error:
        raise ToolchainError("\n  ".join([f"{name} could not be taken down:", *why_it_failed(name)])) from error
    report(f"{name} is gone: functions, queues, cache (registry, cached answers, conversations), roles, logs, alarms.")
    bucket = stack.outputs.get("Bucket")
    if bucket:
        report(
            f"Kept: the bucket {bucket} with its documents. A new stack takes it up: make deploy STAGE={stage} PARAMETERS='ExistingBucket={bucket}'"
        )
        report(
            f"To delete it with everything in it: aws s3 rb --force s3://{bucket} (old versions first: docs/deploy.md)"
        )
    if "SetSecret" in stack.outputs:
        report(
            f"The secret can be restored for 30 days: aws secretsmanager restore-secret --secret-id {stack.outputs['SecretArn']}"
        )
    if stack.parameters.get("VectorStore") in {"qdrant", "pinecone"}:
        report("Kept: the collection in your vector store, which this stack has never owned.")
