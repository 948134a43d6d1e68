"""The template says what the design asks, and the layers fit Lambda, carry fresh bytecode and import by themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LAMBDA_LIMIT_BYTES = 262_144_000
ROOM_BYTES = 10_000_000
UNCHECKED_HASH = 0b01


class _Loader(yaml.SafeLoader):  # type: ignore[misc] # untyped
    """Reads CloudFormation's short functions as `{"Fn": value}`."""


_Loader.add_multi_constructor(
    "!",
    lambda loader, suffix, node: {
        suffix: loader.construct_scalar(node)
        if isinstance(node, yaml.ScalarNode)
        else loader.construct_sequence(node, deep=True)
    },
)


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text(), _Loader)  # noqa: S506 - a SafeLoader
    return loaded


def of_type(template: dict[str, Any], kind: str) -> dict[str, Any]:
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == kind}


def test_every_function_begins_in_a_main_that_exists(template: dict[str, Any]) -> None:
    functions = of_type(template, "AWS::Serverless::Function")
    assert sorted(f["Handler"] for f in functions.values()) == [
        "functions.cache_maintenance.main.handler", "functions.chat.main.app", "functions.ingest.main.handler",
    ]  # fmt: skip
    for function in functions.values():
        module, _, name = function["Handler"].rpartition(".")
        source = (ROOT / f"{module.replace('.', '/')}.py").read_text()
        assert f"def {name}(" in source or f"{name} = create_app(" in source


def test_chat_streams_and_is_not_public(template: dict[str, Any]) -> None:
    url = of_type(template, "AWS::Serverless::Function")["ChatFunction"]["FunctionUrlConfig"]
    assert url == {"AuthType": "AWS_IAM", "InvokeMode": "RESPONSE_STREAM"}


def test_a_message_outlives_its_function_and_ends_in_the_dead_letters(template: dict[str, Any]) -> None:
    from functions.ingest.main import MAX_RECEIVES

    queue = of_type(template, "AWS::SQS::Queue")["IngestQueue"]
    timeout = of_type(template, "AWS::Serverless::Function")["IngestFunction"]["Timeout"]
    assert queue["VisibilityTimeout"] >= 6 * timeout
    assert queue["RedrivePolicy"]["maxReceiveCount"] == MAX_RECEIVES
    source = of_type(template, "AWS::Serverless::Function")["IngestFunction"]["Events"]["Documents"]["Properties"]
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_the_bucket_is_private_versioned_and_tells_of_every_change(template: dict[str, Any]) -> None:
    bucket = of_type(template, "AWS::S3::Bucket")["Documents"]
    assert all(bucket["PublicAccessBlockConfiguration"].values())
    assert bucket["VersioningConfiguration"]["Status"] == "Enabled"
    events = {q["Event"] for q in bucket["NotificationConfiguration"]["QueueConfigurations"]}
    assert events == {"s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:LifecycleExpiration:*"}


def test_settings_in_the_template_are_settings_of_the_code(template: dict[str, Any]) -> None:
    from headrace.settings import Settings

    variables = set(template["Globals"]["Function"]["Environment"]["Variables"])
    known = {name.upper() for name in Settings.__dataclass_fields__}
    assert variables - known == {"POWERTOOLS_SERVICE_NAME"}


def test_the_artifacts_fit_lambda_with_room_to_spare(artifacts: dict[str, Path]) -> None:
    total = sum(
        path.stat().st_size for artifact in artifacts.values() for path in artifact.rglob("*") if path.is_file()
    )
    assert total < LAMBDA_LIMIT_BYTES - ROOM_BYTES


def test_the_bytecode_can_not_go_stale(artifacts: dict[str, Path]) -> None:
    for artifact in artifacts.values():
        compiled = list(artifact.rglob("*.pyc"))
        assert len(compiled) == len(list(artifact.rglob("*.py")))
        for path in compiled:
            flags = int.from_bytes(path.read_bytes()[4:8], "little")
            assert flags == UNCHECKED_HASH, path


@pytest.mark.parametrize("function", ["chat", "ingest", "cache_maintenance"])
def test_a_function_imports_from_its_layers_alone(artifacts: dict[str, Path], function: str) -> None:
    used = [artifacts["RuntimeLayer"], *([artifacts["ParsingLayer"]] if function == "ingest" else [])]
    source = (
        f"import json, sys; sys.path[:0] = {[str(ROOT), *map(str, used)]!r}; "
        f"import functions.{function}.main; from headrace import wiring; from headrace.settings import Settings; "
        "s = Settings(chat_model='x', embedding_model='y'); "
        'import simsimd, hiredis; wiring.open_store(s); wiring.open_redis(s); wiring.open_chat_model(s, "x"); wiring.open_embedder(s); '
        + (
            "import headrace.parsers.unstructured, headrace.parsers.pdf, openpyxl; import unstructured.partition.docx; "
            "import unstructured.partition.pptx, unstructured.partition.html, unstructured.partition.md; "
            if function == "ingest"
            else "import openai; "
        )
        + "outside = sorted({m.split('.')[0] for m, v in sys.modules.items() if 'site-packages' in (getattr(v, '__file__', '') or '')}); "
        "print(json.dumps(outside))"
    )
    # -I and -S: nothing of this environment's packages; boto3 is in Lambda's own runtime.
    result = subprocess.run([sys.executable, "-I", "-S", "-c", source], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert json.loads(result.stdout.splitlines()[-1]) == []
