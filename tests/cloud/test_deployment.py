"""`make deploy` into an emulator of AWS: the very artifacts of `sam build`, policies enforced, answers streamed.

In order: each test finds the stage as the one before has left it.
"""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import boto3
import openai
import pytest
import yaml
from botocore.exceptions import ClientError

from infra.aws.smoke import Door, SmokeError
from infra.aws.stacks import Stack
from infra.aws.toolchain import SAM_COMMAND
from tests.cloud.conftest import ARCHITECTURE, KEYS, Cloud, build_for, fill_secret, host_of, stack_of, through
from tests.support.processes import ROOT

ELF = {"arm64": 183, "x86_64": 62}
LAMBDA_BYTES = 262_144_000
GIVEN_UP_SECONDS = 90.0


def resource(stack: Stack, logical_id: str) -> str:
    client = boto3.client("cloudformation")
    found = client.describe_stack_resource(StackName=stack.name, LogicalResourceId=logical_id)
    return str(found["StackResourceDetail"]["PhysicalResourceId"])


def door(cloud: Cloud, stage: str, key: str = "") -> Door:
    return Door(cloud.url, key=key, host=host_of(stack_of(stage)))


def record(at: Door, name: str, state: str, seconds: float) -> dict[str, Any]:
    """The document's record once it is in this state."""
    deadline = time.monotonic() + seconds
    found: dict[str, Any] = {}
    while time.monotonic() < deadline:
        found = at.document(name) or {}
        if found.get("state") == state:
            return found
        # A principal has sixty requests a minute.
        time.sleep(1.2)
    raise AssertionError(f"{name} is not {state} after {seconds} s: {found}")


def processors(folder: Path) -> set[int]:
    """The processors that the compiled modules below a folder are for."""
    return {int.from_bytes(path.read_bytes()[18:20], "little") for path in folder.rglob("*.so")}


def test_artifacts_for_the_other_processor_are_for_it(cloud: Cloud, python: str) -> None:
    other = "arm64" if ARCHITECTURE == "x86_64" else "x86_64"
    build_for(cloud, other, python)
    for artifact in ("RuntimeLayer", "ParsingLayer", "LedgerLayer", "ChatFunction"):
        assert processors(ROOT / ".aws-sam" / "build" / artifact) == {ELF[other]}, artifact


def test_artifacts_are_for_this_processor_and_fit(built: str) -> None:
    place = ROOT / ".aws-sam" / "build"
    sizes = {
        name: sum(path.stat().st_size for path in (place / name).rglob("*") if path.is_file())
        for name in ("RuntimeLayer", "ParsingLayer", "LedgerLayer", "ChatFunction", "IngestFunction")
    }
    for artifact in ("RuntimeLayer", "ParsingLayer", "LedgerLayer", "ChatFunction"):
        assert processors(place / artifact) == {ELF[ARCHITECTURE]}, artifact
    assert sizes["RuntimeLayer"] + sizes["ParsingLayer"] + sizes["IngestFunction"] < LAMBDA_BYTES
    assert sizes["RuntimeLayer"] + sizes["LedgerLayer"] + sizes["ChatFunction"] < LAMBDA_BYTES


def test_a_file_becomes_a_streamed_answer_and_goes_with_it(cloud: Cloud, stage: str) -> None:
    said = cloud.smoke(stage)
    assert "and nothing of it is left: all is well" in said
    pieces, seconds = said.split("an answer streamed in ")[1].split(" s ")[0].split(" pieces over ")
    assert int(pieces) > 8
    assert float(seconds) > 0.3, "the words came as the model wrote them"


def test_the_call_that_the_outputs_print_works_as_it_is(cloud: Cloud, stage: str) -> None:
    stack = stack_of(stage)
    command = through(cloud, stack.outputs["SignedCall"], stack)
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "event: done" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("changed", [{"AWS_SECRET_ACCESS_KEY": "wrong"}, {"AWS_ACCESS_KEY_ID": "AKIASTRANGER"}])
def test_who_does_not_sign_rightly_is_not_let_in(cloud: Cloud, stage: str, changed: dict[str, str]) -> None:
    stack = stack_of(stage)
    command = through(cloud, stack.outputs["SignedCall"], stack)
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60, env={**os.environ, **changed}
    )
    assert "event:" not in done.stdout
    assert "Forbidden" in done.stdout or "signature" in done.stdout or "invalid" in done.stdout, done.stdout


def test_a_role_can_do_what_its_function_does_and_no_more(stage: str) -> None:
    stack = stack_of(stage)
    bucket, iam = stack.outputs["Bucket"], boto3.client("iam")
    queue = stack.outputs["DeadLettersArn"].replace("DeadLetters", "IngestQueue").rsplit("-", 1)[0]
    arns = {
        "document": f"arn:aws:s3:::{bucket}/documents/a.txt", "other": f"arn:aws:s3:::{bucket}/private/a.txt",
        "bucket": f"arn:aws:s3:::{bucket}", "secret": stack.outputs["SecretArn"],
        "cache": f"arn:aws:elasticache:us-east-1:000000000000:serverlesscache:{stack.outputs['CacheName']}",
        "vectors": f"arn:aws:s3vectors:us-east-1:000000000000:bucket/{stack.outputs['VectorBucket']}/index/some",
        "stranger": "arn:aws:secretsmanager:us-east-1:000000000000:secret:another-AbCdEf", "queue": f"{queue}-x",
    }  # fmt: skip
    asked = {
        "s3:GetObject": ("document", "other"), "s3:PutObject": ("document", "other"), "s3:DeleteObject": ("document", "other"),
        "s3:GetObjectVersion": ("document", "other"), "s3:DeleteObjectVersion": ("document",), "xray:PutTraceSegments": ("bucket",),
        "s3:ListBucket": ("bucket",), "secretsmanager:GetSecretValue": ("secret", "stranger"),
        "secretsmanager:PutSecretValue": ("secret",), "elasticache:Connect": ("cache",), "iam:PassRole": ("bucket",),
        "s3vectors:QueryVectors": ("vectors", "bucket"), "s3vectors:PutVectors": ("vectors",), "s3vectors:DeleteIndex": ("vectors",),
        "bedrock:InvokeModel": ("bucket",), "sqs:PurgeQueue": ("queue",), "lambda:InvokeFunction": ("queue",),
    }  # fmt: skip

    def allowed(role: str) -> set[tuple[str, str]]:
        arn = iam.get_role(RoleName=resource(stack, role))["Role"]["Arn"]
        found = set()
        for action, names in asked.items():
            for name in names:
                (result,) = iam.simulate_principal_policy(
                    PolicySourceArn=arn, ActionNames=[action], ResourceArns=[arns[name]]
                )["EvaluationResults"]
                if result["EvalDecision"] == "allowed":
                    found.add((action, name))
        return found

    common = {("secretsmanager:GetSecretValue", "secret"), ("elasticache:Connect", "cache")}
    searching = {("s3vectors:QueryVectors", "vectors")}
    files = {(f"s3:{action}", "document") for action in ("PutObject", "GetObjectVersion", "DeleteObject")}
    assert allowed("ChatRole") == common | searching | files
    reading = {("s3:GetObject", "document"), ("s3:ListBucket", "bucket")}
    assert allowed("IngestRole") == common | reading | searching | {("s3vectors:PutVectors", "vectors")}
    assert allowed("CacheMaintenanceRole") == common | reading | searching


def test_no_secret_stands_in_a_function_s_configuration_its_outputs_or_the_log(cloud: Cloud, stage: str) -> None:
    stack = stack_of(stage)
    told = json.dumps([dict(stack.outputs), dict(stack.parameters)])
    for function in ("ChatFunction", "IngestFunction", "CacheMaintenanceFunction"):
        configuration = boto3.client("lambda").get_function_configuration(FunctionName=resource(stack, function))
        told += json.dumps(configuration["Environment"])
    told += (cloud.folder / "cloud.log").read_text(errors="replace")
    for log in cloud.folder.glob("environments/*/*.log"):
        told += log.read_text(errors="replace")
    assert "sk-test" not in told
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in told


def test_maintenance_runs_and_says_what_it_found(stage: str) -> None:
    function = resource(stack_of(stage), "CacheMaintenanceFunction")
    reply = boto3.client("lambda").invoke(FunctionName=f"{function}:live", Payload=b"{}")
    report = json.loads(reply["Payload"].read())
    assert report["checkpoint"] is None, report
    assert "default" in report["tenants"]


def test_what_can_not_be_ingested_ends_as_failed_with_a_reason(cloud: Cloud, stage: str) -> None:
    stack = stack_of(stage)
    sqs = boto3.client("sqs")
    # Five tries take twenty minutes; here the queue gives up after the first, once its pause of fifteen seconds is over.
    policy = {"deadLetterTargetArn": stack.outputs["DeadLettersArn"], "maxReceiveCount": 1}
    sqs.set_queue_attributes(QueueUrl=stack.outputs["Queue"], Attributes={"RedrivePolicy": json.dumps(policy)})
    boto3.client("s3").put_object(
        Bucket=stack.outputs["Bucket"],
        Key="documents/poison.txt",
        Body=b"The unembeddable word is what no model takes.",
    )
    found = record(door(cloud, stage), "poison.txt", "failed", GIVEN_UP_SECONDS)
    assert found["reason"].startswith("Given up"), found
    left = sqs.get_queue_attributes(
        QueueUrl=resource(stack, "LastLetters"), AttributeNames=["ApproximateNumberOfMessages"]
    )
    assert left["Attributes"]["ApproximateNumberOfMessages"] == "0", "it was told to its record, and to no person"
    again = {**policy, "maxReceiveCount": 5}
    sqs.set_queue_attributes(QueueUrl=stack.outputs["Queue"], Attributes={"RedrivePolicy": json.dumps(again)})
    boto3.client("s3").delete_object(Bucket=stack.outputs["Bucket"], Key="documents/poison.txt")


def test_nothing_changed_is_nothing_done(cloud: Cloud, stage: str) -> None:
    before = stack_of(stage)
    cloud.deploy(stage)
    after = stack_of(stage)
    assert after.outputs == before.outputs
    assert after.status == before.status


def test_a_changed_parameter_reaches_the_function_and_the_others_stay(cloud: Cloud, stage: str) -> None:
    function = resource(stack_of(stage), "ChatFunction")
    client = boto3.client("lambda")
    before = client.get_alias(FunctionName=function, Name="live")["FunctionVersion"]
    cloud.make("deploy", f"STAGE={stage}", "BUILT=1", "PARAMETERS=RequestsPerMinute=77")
    alias = client.get_alias(FunctionName=function, Name="live")["FunctionVersion"]
    assert alias != before
    live = client.get_function_configuration(FunctionName=function, Qualifier="live")["Environment"]["Variables"]
    assert live["REQUESTS_PER_MINUTE"] == "77"
    assert live["OPENAI_BASE_URL"] == cloud.openai_url, "what is not given stays"
    limit = door(cloud, stage).call("GET", "/documents").headers["RateLimit-Policy"]
    assert "77" in limit


def test_a_broken_update_is_taken_back_and_the_old_one_answers_on(cloud: Cloud, stage: str) -> None:
    place = ROOT / ".aws-sam" / "build"
    template = yaml.safe_load((place / "template.yaml").read_text())
    nobody = "arn:aws:sqs:us-east-1:000000000000:no-such-queue"
    told = {"QueueConfigurations": [{"Event": "s3:ObjectCreated:*", "Queue": nobody}]}
    template["Resources"]["BrokenBucket"] = {
        "Type": "AWS::S3::Bucket",
        "DependsOn": ["ChatFunction", "IngestFunction"],
        "Properties": {"NotificationConfiguration": told},
    }
    variables = template["Globals"]["Function"]["Environment"]["Variables"]
    variables |= {"CHAT_MODEL": "a-model-that-never-comes", "RELEASE": "broken"}
    (place / "broken.yaml").write_text(yaml.safe_dump(template))
    stack = stack_of(stage)
    overrides = [f'{name}="{value}"' for name, value in stack.parameters.items()]
    command = [
        *SAM_COMMAND, "deploy", "--template-file", str(place / "broken.yaml"), "--stack-name", stack.name, "--resolve-s3", "--s3-prefix", stack.name,
        "--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND", "--no-confirm-changeset", "--parameter-overrides", *overrides,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    (place / "broken.yaml").unlink()
    assert done.returncode != 0
    assert stack_of(stage).status == "UPDATE_ROLLBACK_COMPLETE", done.stdout[-2000:]
    function = boto3.client("lambda").get_function_configuration(
        FunctionName=resource(stack, "ChatFunction"), Qualifier="live"
    )
    assert function["Environment"]["Variables"]["CHAT_MODEL"] == "gpt-4.1-mini"
    cloud.smoke(stage)


def test_a_rotated_secret_is_taken_up_by_the_next_start(cloud: Cloud, stage: str) -> None:
    fill_secret(stack_of(stage), OPENAI_CITATIONS="footer")
    cloud.make("deploy", f"STAGE={stage}", "BUILT=1", "PARAMETERS=RequestsPerMinute=78")
    cloud.smoke(stage)


def test_an_open_url_asks_for_a_key_and_openai_s_client_has_one(cloud: Cloud, stage: str) -> None:
    cloud.deploy(stage, "Auth=api_keys")
    stack = stack_of(stage)
    nobody = through(cloud, stack.outputs["KeyCall"], stack)
    without = subprocess.run(
        nobody, capture_output=True, text=True, check=True, timeout=60, env={**os.environ, "HEADRACE_KEY": ""}
    )
    assert "unauthenticated" in without.stdout or "401" in without.stdout or "key" in without.stdout, without.stdout
    said = cloud.make(
        "key", "ACTION=create", f"STAGE={stage}", "ARGS=--role writer", variables={"SSL_CERT_FILE": str(cloud.trusted)}
    )
    key = next(word for word in said.split() if word.startswith("headrace_"))
    done = subprocess.run(
        nobody, capture_output=True, text=True, check=True, timeout=60, env={**os.environ, "HEADRACE_KEY": key}
    )
    assert "event: done" in done.stdout
    cloud.smoke(stage, HEADRACE_KEY=key)
    client = openai.OpenAI(base_url=f"{cloud.url}/v1", api_key=key, default_headers={"Host": host_of(stack)})
    answer = client.chat.completions.create(model="headrace", messages=[{"role": "user", "content": "What is here?"}])
    assert answer.choices[0].message.content
    page = door(cloud, stage, key="none").call
    with pytest.raises(SmokeError, match="401"):
        page("GET", "/documents")


def test_a_page_for_browsers_is_there(cloud: Cloud, stage: str) -> None:
    # A browser sends no credential for the page itself.
    stack = stack_of(stage)
    command = through(cloud, f"curl -i {stack.outputs['ChatUrl']}", stack)
    page = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "text/html" in page
    assert "<title>" in page


def test_commands_work_on_the_deployment(cloud: Cloud, stage: str) -> None:
    said = cloud.make("verify", f"STAGE={stage}", variables={"SSL_CERT_FILE": str(cloud.trusted)})
    assert "default: 0 differences" in said


def test_two_stages_stand_side_by_side_and_one_goes_and_comes_back_with_its_bucket(cloud: Cloud, stage: str) -> None:
    cloud.deploy("two", "WebSocket=true")
    assert stack_of("two").outputs["SocketUrl"].startswith("wss://")
    fill_secret(stack_of("two"))
    cloud.smoke("two")
    bucket = stack_of("two").outputs["Bucket"]
    assert bucket != stack_of(stage).outputs["Bucket"]
    boto3.client("s3").put_object(Bucket=bucket, Key="documents/kept.txt", Body=b"The spillway opens at 412 metres.")
    record(door(cloud, "two"), "kept.txt", "ready", 60)

    vectors = {"vectorBucketName": stack_of("two").outputs["VectorBucket"]}
    assert boto3.client("s3vectors").list_indexes(**vectors)["indexes"], "the chunks are in the stack's own bucket"
    said = cloud.make("destroy", "STAGE=two")
    with pytest.raises(ClientError, match="could not be found"):
        boto3.client("s3vectors").list_indexes(**vectors)
    assert f"Kept: the bucket {bucket}" in said
    assert "headrace-two is gone" in said
    assert boto3.client("s3").get_object(Bucket=bucket, Key="documents/kept.txt")["Body"].read()

    cloud.deploy("two", f"ExistingBucket={bucket}")
    fill_secret(stack_of("two"))
    # The registry went with its cache: what is in the bucket is read again.
    cloud.make("backfill", "STAGE=two", variables={"SSL_CERT_FILE": str(cloud.trusted)})
    record(door(cloud, "two"), "kept.txt", "ready", 60)
    boto3.client("s3").put_object(Bucket=bucket, Key="documents/new.txt", Body=b"The gate closes in 40 seconds.")
    record(door(cloud, "two"), "new.txt", "ready", 60)
    cloud.make("destroy", "STAGE=two")
    cloud.smoke(stage, HEADRACE_KEY=_key(cloud, stage))


def _key(cloud: Cloud, stage: str) -> str:
    said = cloud.make(
        "key", "ACTION=create", f"STAGE={stage}", "ARGS=--role writer", variables={"SSL_CERT_FILE": str(cloud.trusted)}
    )
    return next(word for word in said.split() if word.startswith("headrace_"))


def test_what_is_missing_is_said_before_anything_is_built(cloud: Cloud) -> None:
    said = cloud.make("deploy", "STAGE=three", fails=True, variables={"AWS_ACCESS_KEY_ID": "AKIASTRANGER"})
    assert "AWS does not know who you are" in said
    said = cloud.make("smoke", "STAGE=three", fails=True)
    assert "There is no stack headrace-three" in said
    said = cloud.make("destroy", "STAGE=three", fails=True)
    assert "There is no stack headrace-three" in said


def test_sam_alone_asks_for_each_parameter_and_enter_is_an_answer(cloud: Cloud, stage: str, tmp_path: Path) -> None:
    # What it keeps for the next time goes into a copy.
    kept = str(shutil.copy(ROOT / "samconfig.toml", tmp_path))
    questions = guided(["--stack-name", "headrace-guided", "--config-file", kept])
    assert "Parameter VectorStore [s3vectors]" in questions
    assert "Parameter Auth [iam]" in questions
    stack = stack_of("guided")
    assert stack.status == "CREATE_COMPLETE"
    # Nothing but the model's key is asked of its owner.
    fill_secret(stack, OPENAI_BASE_URL=cloud.openai_url)
    assert stack.outputs["VectorBucket"]
    cloud.make("destroy", "STAGE=guided")


def guided(arguments: list[str]) -> str:
    """`sam deploy --guided` in a terminal, where somebody presses Enter at each question, and at the last one says yes."""
    terminal, slave = pty.openpty()
    command = [*SAM_COMMAND, "deploy", "--guided", *arguments]
    said = ""
    with subprocess.Popen(command, cwd=ROOT, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        while True:
            try:
                said += os.read(terminal, 65536).decode(errors="replace")
            except OSError:
                # The other end is closed.
                break
            if said.rstrip(" ").endswith(":"):
                os.write(terminal, b"y\n" if "Deploy this changeset?" in said.splitlines()[-1] else b"\n")
    os.close(terminal)
    assert process.returncode == 0, said[-4000:]
    # Without the colours.
    return re.sub(r"\x1b\[[0-9;]*m", "", said)
