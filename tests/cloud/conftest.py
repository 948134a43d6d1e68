"""A cloud on this machine, servers outside of it, and a stage deployed into it by `make deploy`."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest

from infra.aws.stacks import Stack, find_stack
from infra.aws.toolchain import LAMBDA_PYTHON, SAM_COMMAND, ToolchainError, find_python
from infra.local.processes import free_port
from tests.support.processes import ROOT, running

ARCHITECTURE = "x86_64" if platform.machine() == "x86_64" else "arm64"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAHEADRACEROOT", "AWS_SECRET_ACCESS_KEY": "root/secret"}
MAKE_SECONDS = 600


@dataclass
class Cloud:
    """The emulator's address and place, and the servers that the functions ask outside of it."""

    url: str
    folder: Path
    openai_url: str
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def trusted(self) -> Path:
        """The certificate of its caches."""
        return self.folder / "caches" / "cache.pem"

    def make(self, *words: str, variables: Mapping[str, str] | None = None, fails: bool = False) -> str:
        """What `make` prints. It has to succeed, or to fail where `fails` says so."""
        began = time.monotonic()
        environment = {**os.environ, **(variables or {})}
        done = subprocess.run(
            ["/usr/bin/env", "make", *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=MAKE_SECONDS,
        )
        self.seconds[" ".join(words[:2])] = time.monotonic() - began
        said = done.stdout + done.stderr
        assert bool(done.returncode) == fails, said[-4000:]
        return said

    def deploy(self, stage: str, *parameters: str) -> str:
        """`make deploy` of the stage, from the artifacts that stand in .aws-sam."""
        given = " ".join((f"Architecture={ARCHITECTURE}", f"OpenAIBaseUrl={self.openai_url}", *parameters))
        return self.make("deploy", f"STAGE={stage}", "BUILT=1", f"PARAMETERS={given}")

    def smoke(self, stage: str, **variables: str) -> str:
        """`make smoke` of the stage, through the emulator's door."""
        stack = stack_of(stage)
        at = {"HEADRACE_HOST": host_of(stack), "BUCKET": stack.outputs["Bucket"]}
        return self.make("smoke", f"URL={self.url}", variables={**at, **variables})


def stack_of(stage: str) -> Stack:
    stack = find_stack(f"headrace-{stage}")
    assert stack is not None
    return stack


def host_of(stack: Stack) -> str:
    return urlsplit(stack.outputs["ChatUrl"]).netloc


def through(cloud: Cloud, command: str, stack: Stack) -> Sequence[str]:
    """A curl command of the outputs as one would paste it, led to the emulator instead of AWS."""
    host = host_of(stack)
    at = urlsplit(cloud.url)
    led = command.replace(f"https://{host}", f"http://{host}").replace(
        "curl ", f"curl -sS --connect-to {host}:80:{at.hostname}:{at.port} ", 1
    )
    return ["sh", "-c", led]


@pytest.fixture(scope="session")
def python() -> str:
    """Lambda's Python; on a machine without one, and without a way to fetch it, this one."""
    try:
        return find_python()
    except ToolchainError:
        return sys.executable


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory, python: str) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    port, openai_port = free_port(), free_port()
    environment = {
        **KEYS, "AUTH": "true", "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1",
        "IOT_MTLS_ENABLED": "0", "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    command = [
        str(ROOT / ".venv-cloud" / "bin" / "python"),
        "-m",
        "tests.support.cloud",
        "--python",
        python,
        "--folder",
        str(folder),
    ]
    serve = [
        sys.executable,
        "-m",
        "uvicorn",
        "--factory",
        "tests.support.openai_server:slow_app",
        "--port",
        str(openai_port),
    ]
    with (
        running(command, port, folder / "cloud.log", environment),
        running(serve, openai_port, folder / "openai.log"),
        pytest.MonkeyPatch.context() as patch,
    ):
        url = f"http://127.0.0.1:{port}"
        access = {**KEYS, "AWS_ENDPOINT_URL": url, "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}
        for name, value in {**access, "AWS_EC2_METADATA_DISABLED": "true"}.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        yield Cloud(url, folder, f"http://127.0.0.1:{openai_port}/v1")


def build_for(cloud: Cloud, architecture: str, python: str) -> None:
    """The artifacts for a processor, by `make build`; without Lambda's Python by its steps, with the bytecode of this one."""
    if python != sys.executable or LAMBDA_PYTHON in python:
        cloud.make("build", f"ARCHITECTURE={architecture}", variables={"PYTHON313": python})
        return
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    environment = {**os.environ, "COMPILER": python, "PYTHON_VERSION": version, "ARCHITECTURE": architecture}
    command = [*SAM_COMMAND, "build", "--parameter-overrides", f"Architecture={architecture}"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)


@pytest.fixture(scope="session")
def built(cloud: Cloud, python: str) -> str:
    """The artifacts for this machine's processor."""
    build_for(cloud, ARCHITECTURE, python)
    return ARCHITECTURE


@pytest.fixture(scope="session")
def stage(cloud: Cloud, built: str) -> Iterator[str]:
    """A deployed stage whose secret is filled."""
    said = cloud.deploy("ci")
    assert "The secret is still empty" in said
    fill_secret(stack_of("ci"))
    yield "ci"
    print("\nseconds:", {name: round(seconds, 1) for name, seconds in cloud.seconds.items()})  # noqa: T201 - for the log of CI


def fill_secret(stack: Stack, **more: str) -> None:
    import json

    given: Mapping[str, str] = {"OPENAI_API_KEY": "sk-test", **more}
    boto3.client("secretsmanager").put_secret_value(SecretId=stack.outputs["SecretArn"], SecretString=json.dumps(given))
