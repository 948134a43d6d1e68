"""Parameters as they are typed, and as sam is given them."""

from __future__ import annotations

import os
import subprocess

import pytest

from infra.aws.deploy import read_parameters
from infra.aws.toolchain import ToolchainError, settle_region
from infra.local.processes import ROOT

PRINCIPALS = '{"arn:aws:iam::1:role/Staff*": {"tenant": "acme", "groups": ["hr", "it"]}}'


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("", {}),
        ("Auth=api_keys", {"Auth": "api_keys"}),
        ("Auth=api_keys,jwt  ChatModel=gpt-4.1", {"Auth": "api_keys,jwt", "ChatModel": "gpt-4.1"}),
        (f"IamPrincipals={PRINCIPALS} Auth=iam", {"IamPrincipals": PRINCIPALS, "Auth": "iam"}),
        ("JwtKeys=https://idp/keys?a=b Auth=jwt", {"JwtKeys": "https://idp/keys?a=b", "Auth": "jwt"}),
        ("AlarmEmail='' FallbackModels=\"a, b\"", {"AlarmEmail": "", "FallbackModels": "a, b"}),
    ],
)
def test_a_value_goes_on_to_the_next_name(typed: str, read: dict[str, str]) -> None:
    assert read_parameters(typed) == read


@pytest.mark.parametrize("typed", ["api_keys", "auth=iam", "iam Auth=iam"])
def test_what_is_no_parameter_is_said(typed: str) -> None:
    with pytest.raises(ToolchainError, match="Parameter=value"):
        read_parameters(typed)


def test_make_hands_json_over_as_it_was_typed() -> None:
    show = "import os; print(os.environ['PARAMETERS'])"
    # Not as a part of the make that runs the tests, which would say where it is.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    makefile = f'all:\n\t@python3 -c "{show}"\n'
    done = subprocess.run(
        ["/usr/bin/env", "make", "-f", "-", f"PARAMETERS=IamPrincipals={PRINCIPALS}"], input=makefile, cwd=ROOT, env=environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert read_parameters(done.stdout) == {"IamPrincipals": PRINCIPALS}


def test_the_region_is_the_command_line_s(monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    settle_region(os.environ)
    assert boto3.session.Session().region_name == "eu-central-1"
