"""`make key`: keys are made, shown once, listed without their secret, and revoked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from headrace.auth.api_keys import read_fixed_keys
from infra.local.processes import ROOT


@pytest.fixture
def make_key(redis_url: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join((str(ROOT), str(ROOT / "shared")))
        return subprocess.run(
            [sys.executable, "-m", "infra.local.operate", "key", *arguments],
            env={**os.environ, "PYTHONPATH": path, "REDIS_URL": redis_url}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def test_a_key_is_made_listed_and_revoked(make_key: Callable[..., Any], tenant: str) -> None:
    made = make_key(
        "create", "--tenant", tenant, "--groups", "hr,board", "--role", "writer", "--label", "Anna's laptop", "--days", "90"
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    (secret,) = re.findall(r"headrace_[0-9a-f]{16}_[0-9a-f]{64}", made.stdout)
    key_id = secret.split("_")[1]
    record = made.stdout.strip().splitlines()[-1].strip()
    assert read_fixed_keys(f"[{record}]")[key_id].principal.groups == {"hr", "board"}
    assert json.loads(record)["principal"] == f"key:{key_id}"
    listed = make_key("list").stdout
    (line,) = [line for line in listed.splitlines() if line.startswith(key_id)]
    assert f"{tenant} (board, hr)  key:{key_id}  writer  until " in line
    assert secret.split("_")[2] not in listed
    assert make_key("revoke", key_id).stdout == f"The key {key_id} holds no more.\n"
    assert key_id not in make_key("list").stdout
    again = make_key("revoke", key_id)
    assert (again.returncode, again.stderr) == (
        1,
        f"There is no key {key_id}. `make key` lists those that there are.\n",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "--role", "owner"), "invalid choice"),
        (("create", "--tenant", "a/b"), "tenant"),
        (("create", "--groups", "x" * 300), "group"),
        (("create", "--days", "soon"), "invalid float value"),
    ],
)
def test_what_can_not_be_made_says_why(make_key: Callable[..., Any], arguments: tuple[str, ...], said: str) -> None:
    refused = make_key(*arguments)
    assert refused.returncode != 0
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
