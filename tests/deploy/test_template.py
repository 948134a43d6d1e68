"""The template says what the design asks, and the layers fit Lambda, carry fresh bytecode and import by themselves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.files import of_every_format

ROOT = Path(__file__).resolve().parents[2]
LAMBDA_LIMIT_BYTES = 262_144_000
ROOM_BYTES = 10_000_000
LAYERS_BYTES = 200_000_000
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
    assert url == {"AuthType": {"If": ["UsesIam", "AWS_IAM", "NONE"]}, "InvokeMode": "RESPONSE_STREAM"}
    assert template["Parameters"]["Auth"]["Default"] == "iam"


def test_an_open_url_has_both_permissions_and_only_then(template: dict[str, Any]) -> None:
    permissions = {n: r for n, r in template["Resources"].items() if r["Type"] == "AWS::Lambda::Permission"}
    assert permissions.pop("SocketPermission")["Properties"]["Principal"] == "apigateway.amazonaws.com"
    assert {r["Condition"] for r in permissions.values()} == {"IsOpenUrl"}
    said = {r["Properties"]["Action"] for r in permissions.values()}
    assert said == {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}


def test_a_websocket_api_is_there_only_for_who_asks_for_it_and_lets_nobody_unknown_in(template: dict[str, Any]) -> None:
    assert template["Parameters"]["WebSocket"]["Default"] == "false"
    parts = {n: r for n, r in template["Resources"].items() if n.startswith("Socket") or n.endswith("Route")}
    assert {r.get("Condition") for r in parts.values()} == {"HasSockets"}
    routes = {r["RouteKey"]: r for r in of_type(template, "AWS::ApiGatewayV2::Route").values()}
    assert set(routes) == {"$connect", "$default", "$disconnect"}
    assert routes["$connect"]["AuthorizationType"] == {"If": ["UsesIam", "AWS_IAM", "NONE"]}
    (stage,) = (r for r in parts.values() if r["Type"] == "AWS::ApiGatewayV2::Stage")
    assert set(stage["DependsOn"]) == {n for n in parts if n.endswith("Route")}, (
        "a stage without routes is deployed empty"
    )


@pytest.mark.parametrize("auth", ["none", "", "iam,jwt", "none,jwt", "open"])
def test_no_parameter_opens_the_url_to_everybody(template: dict[str, Any], auth: str) -> None:
    assert not re.fullmatch(template["Parameters"]["Auth"]["AllowedPattern"], auth)
    for known in ("iam", "jwt", "api_keys", "api_keys,jwt"):
        assert re.fullmatch(template["Parameters"]["Auth"]["AllowedPattern"], known)


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
    for function in of_type(template, "AWS::Serverless::Function").values():
        variables |= set(function.get("Environment", {}).get("Variables", {}))
    known = {name.upper() for name in Settings.__dataclass_fields__}
    assert variables - known == {"POWERTOOLS_SERVICE_NAME", "AWS_LAMBDA_EXEC_WRAPPER"}


@pytest.mark.parametrize(
    ("together", "most"),
    [
        (("RuntimeLayer", "ParsingLayer"), LAYERS_BYTES),
        (("RuntimeLayer", "ChatFunction"), LAMBDA_LIMIT_BYTES - ROOM_BYTES),
    ],
)
def test_the_artifacts_fit_lambda_with_room_to_spare(
    artifacts: dict[str, Path], together: tuple[str, ...], most: int
) -> None:
    files = [path for name in together for path in artifacts[name].rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < most


def test_the_bytecode_can_not_go_stale(artifacts: dict[str, Path]) -> None:
    for artifact in artifacts.values():
        compiled = list(artifact.rglob("*.pyc"))
        assert len(compiled) == len(list(artifact.rglob("*.py")))
        for path in compiled:
            flags = int.from_bytes(path.read_bytes()[4:8], "little")
            assert flags == UNCHECKED_HASH, path


@pytest.mark.parametrize("function", ["chat", "ingest", "cache_maintenance"])
def test_a_function_has_all_that_it_needs_in_its_layers(
    artifacts: dict[str, Path], function: str, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for name, content in of_every_format("The shaft seal is replaced every year.").items():
        (files / name).write_bytes(content)
    used = [artifacts["RuntimeLayer"], *([artifacts["ParsingLayer"]] if function == "ingest" else [])]
    used += [artifacts["ChatFunction"]] if function == "chat" else []
    source = (
        f"import json, sys; sys.path[:0] = {[str(ROOT), *map(str, used)]!r}; "
        f"import functions.{function}.main; from headrace import wiring; from headrace.settings import Settings; "
        "s = Settings(chat_model='x', embedding_model='y'); "
        'import simsimd, hiredis; wiring.open_store(s); wiring.open_redis(s); wiring.open_chat_model(s, "x"); wiring.open_embedder(s); '
        + (
            "from pathlib import Path; from headrace.parsers.readers import Source, read_file; "
            f"[read_file(Source(path, path.name, languages='eng')) for path in Path({str(files)!r}).iterdir()]; "
            if function == "ingest"
            else "import openai; "
            + ("import headrace.auth.jwt, llguidance, jsonschema_rs; " if function == "chat" else "")
        )
        + "outside = sorted({m.split('.')[0] for m, v in sys.modules.items() if 'site-packages' in (getattr(v, '__file__', '') or '')}); "
        "print(json.dumps(outside))"
    )
    # -I and -S: nothing of this environment's packages; boto3 is in Lambda's own runtime.
    result = subprocess.run([sys.executable, "-I", "-S", "-c", source], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert json.loads(result.stdout.splitlines()[-1]) == []
