"""docs/tutorial.md, run from its first command to its last: here, and against the emulator in AWS's place."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infra.aws.toolchain import UV
from infra.local.processes import free_port
from tests.cloud.conftest import ARCHITECTURE, Cloud, host_of, stack_of
from tests.support.processes import ROOT

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
AWSCLI = "awscli==1.46.3"
START_SECONDS = 180.0
SAMPLES = 10


def commands(step: int) -> list[str]:
    """A step's commands, as they are typed."""
    part = TUTORIAL.split(f"\n## {step}. ")[1].split("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", part, re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the AWS command line in it, from the package registry."""
    folder = tmp_path_factory.mktemp("bin")
    aws = folder / "aws"
    aws.write_text(f'#!/bin/sh\nexec "{UV}" tool run --quiet --python "{sys.executable}" --from {AWSCLI} aws "$@"\n')
    aws.chmod(0o755)
    return folder


@dataclass
class Terminal:
    """Where commands are typed, one after the other, with the replacements that stand for another address."""

    folder: Path
    tools: Path
    replaced: Mapping[str, str]
    environment: Mapping[str, str]
    start: str = ""

    def type(self, *lines: str) -> str:
        """What they print; each has to succeed."""
        script = "\n".join(lines)
        for old, new in self.replaced.items():
            script = script.replace(old, new)
        environment = {**os.environ, **self.environment, "PATH": f"{self.tools}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["/usr/bin/env", "bash", "-euo", "pipefail", "-c", f"{self.start}\n{script}"], cwd=self.folder,
            env=environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Iterator[Terminal]:
    """`make run`, as the first step has it."""
    port, s3_port = free_port(), free_port()
    folder = tmp_path_factory.mktemp("local")
    (make_run,) = commands(1)[:1]
    assert make_run == "make run"
    log = folder / "run.log"
    given = {"PORT": str(port), "S3_PORT": str(s3_port), "HEADRACE_FOLDER": str(folder / "state")}
    # Whatever the deployment's tests have set is nothing to the local stack, which is on its own.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with log.open("w") as output:
        process = subprocess.Popen(
            ["/usr/bin/env", "make", "run"], cwd=ROOT, env={**environment, **given}, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    try:
        _until_filled(f"http://127.0.0.1:{port}/documents?limit=0", process, log)
        replaced = {"127.0.0.1:8000": f"127.0.0.1:{port}", "127.0.0.1:4566": f"127.0.0.1:{s3_port}"}
        yield Terminal(folder, tools, replaced, {"AWS_ENDPOINT_URL": "", "AWS_EC2_METADATA_DISABLED": "true"})
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)


def _until_filled(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own server
                counts = json.load(answer)["counts"]
            if counts.get("ready", 0) >= SAMPLES and not any(n for state, n in counts.items() if state != "ready"):
                return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.3)
    raise AssertionError(f"make run did not read its samples ({process.poll()}):\n{log.read_text()[-2000:]}")


def test_on_your_machine(local: Terminal) -> None:
    said = local.type(*commands(1)[1:])
    assert "event: done" in said
    assert "weeks" in said


def test_your_own_documents(local: Terminal) -> None:
    step = commands(2)
    said = local.type(*step)
    assert '"state":"ready"' in said.replace(" ", "")
    # What the next command prints begins on the same line.
    answer, _ = json.JSONDecoder().raw_decode(said[said.index('{"answer"') :])
    assert "412" in answer["answer"]
    assert "spillway.txt" in json.dumps(answer)
    counts = json.loads(said[said.rindex('{"documents"') :])["counts"]
    assert counts["ready"] <= 11, "the samples go"


def test_on_aws(cloud: Cloud, built: str, tools: Path, tmp_path: Path) -> None:
    chosen = f"Auth=api_keys Architecture={ARCHITECTURE} OpenAIBaseUrl={cloud.openai_url}' BUILT=1"
    root = Terminal(ROOT, tools, {"Auth=api_keys'": chosen}, {})
    cost, deploy, fill = commands(3)
    assert "idle" in root.type(cost) or "chats a month" in root.type(cost)
    said = root.type(deploy)
    assert "The secret is still empty" in said
    stack = stack_of("try")
    given = json.dumps({"OPENAI_API_KEY": "sk-test"})
    before = fill.split("--secret-string ")[0]
    Terminal(ROOT, tools, {}, {"SECRET_ARN": stack.outputs["SecretArn"]}).type(f"{before} --secret-string '{given}'")

    key, export, smoke, *own = commands(4)
    trusted = {"SSL_CERT_FILE": str(cloud.trusted)}
    made = Terminal(ROOT, tools, {}, trusted).type(key)
    secret = next(word for word in made.split() if word.startswith("headrace_"))
    host, at = host_of(stack), urlsplit(cloud.url)
    known = {
        "HEADRACE_KEY": secret, "HEADRACE_HOST": host, "BUCKET": stack.outputs["Bucket"], "CHAT_URL": f"http://{host}/",
    }  # fmt: skip
    assert export == "export HEADRACE_KEY=headrace_…"
    assert "all is well" in Terminal(ROOT, tools, {"STAGE=try": f"URL={cloud.url}"}, known).type(smoke)

    led = f'curl() {{ command curl -sS --connect-to "{host}:80:{at.hostname}:{at.port}" "$@"; }}'
    (tmp_path / "spillway.txt").write_text("The spillway of the upper dam opens at 412 metres.\n")
    # The key is in the environment already, as the export above has put it there.
    told = Terminal(tmp_path, tools, {}, known, led).type(*own)
    assert '"state":"ready"' in told.replace(" ", "")
    assert "event: done" in told
    assert "412 metres" in told

    code = re.search(r"```python\n(.*?)```", TUTORIAL, re.DOTALL)
    assert code is not None
    here = code[1].replace(
        'base_url=os.environ["CHAT_URL"] + "v1"', f'base_url="{cloud.url}/v1", default_headers={{"Host": "{host}"}}'
    )
    assert here != code[1]
    done = subprocess.run(
        [sys.executable, "-c", here],
        env={**os.environ, **known},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "spillway.txt" in done.stdout

    assert "Kept: the bucket" in root.type(*commands(5))
