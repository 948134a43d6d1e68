"""Deploys a stage: build, `sam deploy`, and what is still to be done, said in commands."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence

import boto3
import yaml
from botocore.exceptions import ClientError

from infra.aws.stacks import Stack, find_stack, name_of, why_it_failed
from infra.aws.toolchain import ROOT, SAM_COMMAND, ToolchainError, build, check_account

EVENTS = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:LifecycleExpiration:*")
SHOWN = ("ChatUrl", "SignedCall", "KeyCall", "OpenAIClient", "SocketUrl", "Bucket")

STUCK = {
    "ROLLBACK_COMPLETE": "The first deployment of {name} failed and was taken back. Take its rest down, then deploy again: make destroy STAGE={stage}",
    "UPDATE_ROLLBACK_FAILED": "An update of {name} could not be taken back. Mend what its events name, then: aws cloudformation continue-update-rollback --stack-name {name}",
    "DELETE_FAILED": "{name} could not be taken down. Mend what its events name, then: make destroy STAGE={stage}",
}
Report = Callable[[str], None]


def deploy(stage: str, parameters: Mapping[str, str], *, report: Report, is_built: bool = False) -> Stack:
    """Deploy the stage with these parameters (the others stay as they are). Raises ToolchainError."""
    account, region = check_account()
    name = name_of(stage)
    before = find_stack(name)
    if before is not None and before.status in STUCK:
        raise ToolchainError(STUCK[before.status].format(name=name, stage=stage))
    defaults = read_defaults()
    if strange := set(parameters) - set(defaults):
        raise ToolchainError(
            f"The template has no parameter {', '.join(sorted(strange))}; it has {', '.join(sorted(defaults))}."
        )
    # What is not given stays as it is: CloudFormation keeps it.
    kept = {} if before is None else before.parameters
    wanted = {**defaults, **{name: kept[name] for name in kept.keys() & defaults.keys()}, "Stage": stage, **parameters}
    release = _release({name: value for name, value in wanted.items() if name != "Release"})
    given = {"Stage": stage, **parameters, "Release": release}
    report(f"deploying {name} to account {account} in {region}")
    if not is_built:
        build(wanted["Architecture"])
    _sam_deploy(name, region, [f"{key}={_quoted(key, value)}" for key, value in given.items()])
    stack = find_stack(name)
    has_changed = before is None or stack is None or stack.updated_at != before.updated_at
    if stack is None or (has_changed and (not stack.status.endswith("_COMPLETE") or "ROLLBACK" in stack.status)):
        raise ToolchainError("\n  ".join([f"The deployment of {name} failed:", *why_it_failed(name)]))
    if stack.parameters.get("ExistingBucket"):
        _attach(stack)
        report(f"changes of {stack.parameters['ExistingBucket']} now reach the queue")
    return stack


def _sam_deploy(name: str, region: str, overrides: Sequence[str]) -> None:
    command = [
        *SAM_COMMAND, "deploy", "--stack-name", name, "--region", region, "--resolve-s3", "--s3-prefix", name,
        "--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND", "--no-confirm-changeset", "--no-fail-on-empty-changeset",
        "--parameter-overrides", *overrides,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "SAM_CLI_TELEMETRY": "0"}, check=False)
    if done.returncode:
        faults = why_it_failed(name) if find_stack(name) else []
        raise ToolchainError("\n  ".join([f"The deployment of {name} failed.", *faults]))


def read_defaults() -> dict[str, str]:
    """The template's parameters with their defaults."""
    template = yaml.load((ROOT / "template.yaml").read_text(), _Loader)  # noqa: S506 - a SafeLoader
    return {name: str(parameter.get("Default", "")) for name, parameter in template["Parameters"].items()}


class _Loader(yaml.SafeLoader):  # type: ignore[misc] # untyped
    """Reads CloudFormation's short functions as nothing: the parameters have none."""


_Loader.add_multi_constructor("!", lambda _loader, _suffix, _node: None)


def _release(parameters: Mapping[str, str]) -> str:
    """A name for these parameters: another one publishes the functions anew."""
    return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:12]


def read_parameters(text: str) -> dict[str, str]:
    """`Name=value Name=value`, each value up to the next name: JSON needs no quoting. Raises ToolchainError."""
    names = list(re.finditer(r"(?:^|\s)([A-Z][A-Za-z0-9]*)=", text))
    if not text.strip():
        return {}
    if not names or text[: names[0].start()].strip():
        raise ToolchainError(f"{text!r} is no Parameter=value.")
    ends = [*(following.start() for following in names[1:]), len(text)]
    values = [text[found.end() : end].strip() for found, end in zip(names, ends, strict=True)]
    return {found[1]: _unwrapped(value) for found, value in zip(names, values, strict=True)}


def _unwrapped(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _quoted(name: str, value: str) -> str:
    """A parameter's value as sam reads it: in quotes, for spaces, commas and nothing at all. Raises ToolchainError."""
    if "\\" in value:
        raise ToolchainError(
            f"sam can't be given {name} with a backslash in it. Put it into the secret, under its setting's name (docs/deploy.md)."
        )
    escaped = value.replace('"', '\\"')
    return f'"{escaped}"'


def _attach(stack: Stack) -> None:
    """What the output AttachBucket says, keeping the notifications that the bucket has for others. Raises ToolchainError."""
    s3 = boto3.client("s3")
    bucket = stack.parameters["ExistingBucket"]
    queue = boto3.client("sqs").get_queue_attributes(QueueUrl=stack.outputs["Queue"], AttributeNames=["QueueArn"])
    arn = queue["Attributes"]["QueueArn"]
    now = s3.get_bucket_notification_configuration(Bucket=bucket)
    now.pop("ResponseMetadata", None)
    others = [
        each
        for each in now.get("QueueConfigurations", [])
        if each["QueueArn"] != arn and _queue_exists(each["QueueArn"])
    ]
    rules = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "documents/"}]}}
    ours = {"QueueArn": arn, "Events": list(EVENTS), "Filter": rules}
    try:
        s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={**now, "QueueConfigurations": [*others, ours]}
        )
    except ClientError as error:
        raise ToolchainError(
            f"{stack.name} is deployed, but {bucket} can't tell it of its changes: {error}. Is another stack told of documents/ already?"
        ) from error


def _queue_exists(arn: str) -> bool:
    """Whether a queue that a bucket tells of changes is still there: of one that is not, S3 refuses to keep the notification."""
    try:
        boto3.client("sqs").get_queue_url(QueueName=arn.rsplit(":", 1)[1], QueueOwnerAWSAccountId=arn.split(":")[4])
    except ClientError as error:
        return "NonExistentQueue" not in str(error.response.get("Error", {}).get("Code", ""))
    return True


def next_steps(stack: Stack) -> list[str]:
    """What is known of the stack, and what is still to be done, each a line."""
    lines = [f"{name}: {stack.outputs[name]}" for name in SHOWN if name in stack.outputs]
    if "SetSecret" in stack.outputs and not _secret_has_values(stack.outputs["SecretArn"]):
        lines += [
            "",
            "The secret is still empty. Fill it; the functions take it up at their next start:",
            f"  {stack.outputs['SetSecret']}",
        ]
    lines += ["", f"Then try it out: make smoke STAGE={stack.parameters['Stage']}"]
    return lines


def _secret_has_values(arn: str) -> bool:
    text = boto3.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
    return bool(json.loads(text))
