"""Deploys a stage: build, `sam deploy`, and what is still to be done, said in commands."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence

import boto3
import yaml

from infra.aws.stacks import Stack, find_stack, name_of, why_it_failed
from infra.aws.toolchain import ROOT, SAM_COMMAND, ToolchainError, build, check_account

EVENTS = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:LifecycleExpiration:*")
SHOWN = ("ChatUrl", "SignedCall", "KeyCall", "OpenAIClient", "SocketUrl", "Bucket")

Report = Callable[[str], None]


def deploy(stage: str, parameters: Mapping[str, str], *, report: Report, is_built: bool = False) -> Stack:
    """Deploy the stage with these parameters (the others stay as they are). Raises ToolchainError."""
    account, region = check_account()
    name = name_of(stage)
    before = find_stack(name)
    if before is not None and before.status == "ROLLBACK_COMPLETE":
        raise ToolchainError(
            f"The first deployment of {name} failed and was taken back. Take its rest down, then deploy again: make destroy STAGE={stage}"
        )
    kept = {} if before is None else dict(before.parameters)
    defaults = read_defaults()
    if strange := set(parameters) - set(defaults):
        raise ToolchainError(
            f"The template has no parameter {', '.join(sorted(strange))}; it has {', '.join(sorted(defaults))}."
        )
    # What the template has no longer is left behind; what is new in it begins with its default.
    given = {**defaults, **{name: kept[name] for name in kept.keys() & defaults.keys()}, "Stage": stage, **parameters}
    given["Release"] = _release({name: value for name, value in given.items() if name != "Release"})
    report(f"deploying {name} to account {account} in {region}")
    if not is_built:
        build(given.get("Architecture", "arm64"))
    overrides = [f"{key}={_quoted(value)}" for key, value in given.items()]
    _sam_deploy(name, region, overrides)
    stack = find_stack(name)
    if stack is None or not stack.status.endswith("_COMPLETE") or "ROLLBACK" in stack.status:
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


def _quoted(value: str) -> str:
    """A parameter's value as sam reads it: in quotes, for spaces, commas and nothing at all."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _attach(stack: Stack) -> None:
    """What the output AttachBucket says, keeping the notifications that the bucket has for others."""
    s3 = boto3.client("s3")
    bucket = stack.parameters["ExistingBucket"]
    queue = boto3.client("sqs").get_queue_attributes(QueueUrl=stack.outputs["Queue"], AttributeNames=["QueueArn"])
    arn = queue["Attributes"]["QueueArn"]
    now = s3.get_bucket_notification_configuration(Bucket=bucket)
    now.pop("ResponseMetadata", None)
    others = [each for each in now.get("QueueConfigurations", []) if each["QueueArn"] != arn]
    rules = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "documents/"}]}}
    ours = {"QueueArn": arn, "Events": list(EVENTS), "Filter": rules}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={**now, "QueueConfigurations": [*others, ours]}
    )


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
