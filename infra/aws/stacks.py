"""A deployed stack: its parameters and outputs, and what became of its last deployment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import boto3
from botocore.exceptions import ClientError

BEGINNINGS = frozenset({"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS"})


@dataclass(frozen=True, slots=True)
class Stack:
    """What CloudFormation says of a stack."""

    name: str
    status: str
    updated_at: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]


def name_of(stage: str) -> str:
    """The name of a stage's stack."""
    return f"headrace-{stage}"


def find_stack(name: str) -> Stack | None:
    """The stack, or None where there is none."""
    try:
        (found,) = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return Stack(
        name,
        found["StackStatus"],
        str(found.get("LastUpdatedTime", found["CreationTime"])),
        {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])},
        {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in found.get("Parameters", [])},
    )


def settings_of(name: str) -> Mapping[str, str] | None:
    """The settings that the stack's functions have, for commands that do what they do; None where there is no stack.

    No secret is among them: the secret's ARN is.
    """
    if find_stack(name) is None:
        return None
    found = boto3.client("cloudformation").describe_stack_resource(StackName=name, LogicalResourceId="IngestFunction")
    function = found["StackResourceDetail"]["PhysicalResourceId"]
    settings: Mapping[str, str] = boto3.client("lambda").get_function_configuration(FunctionName=function)[
        "Environment"
    ]["Variables"]
    return {name: value for name, value in settings.items() if value}


def why_it_failed(name: str) -> list[str]:
    """The first faults of the newest operation: what to mend, not what was taken back for it."""
    faults: list[str] = []
    pages = boto3.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=name)
    # The newest event comes first.
    for event in (event for page in pages for event in page["StackEvents"]):
        status, reason = event["ResourceStatus"], event.get("ResourceStatusReason", "")
        if status.endswith("FAILED") and "cancelled" not in reason:
            faults.append(f"{event['LogicalResourceId']}: {reason}")
        if event["LogicalResourceId"] == name and status in BEGINNINGS:
            break
    return faults[::-1][:5]
