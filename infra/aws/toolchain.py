"""What building and deploying need on this machine, found or brought before anything is begun."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAMBDA_PYTHON = "3.13"
# The variable that names one.
PYTHON_VARIABLE = f"PYTHON{LAMBDA_PYTHON.replace('.', '')}"
SAM = "aws-sam-cli==1.170.0"
UV = ROOT / ".uv" / "bin" / "uv"
SAM_COMMAND = [str(UV), "tool", "run", "--quiet", "--python", sys.executable, "--from", SAM, "sam"]


class ToolchainError(Exception):
    """Something is missing; the message says what, and how to get it."""


def find_python(environ: Mapping[str, str] = os.environ) -> str:
    """A Python of Lambda's version, which compiles the artifacts' bytecode: this machine's, or one that uv fetches.

    Raises ToolchainError.
    """
    for candidate in _candidates(environ):
        if _is_lambda_python(candidate):
            return candidate
    # Into the project, where `make clean` finds it.
    fetched = {**environ, "UV_PYTHON_INSTALL_DIR": str(ROOT / ".uv" / "python"), "UV_PYTHON_DOWNLOADS": "manual"}
    subprocess.run(
        [str(UV), "python", "install", "--quiet", LAMBDA_PYTHON], env=fetched, capture_output=True, check=False
    )
    for path in sorted((ROOT / ".uv" / "python").glob(f"*/bin/python{LAMBDA_PYTHON}")):
        if _is_lambda_python(str(path)):
            return str(path)
    raise ToolchainError(
        f"Building for Lambda takes Python {LAMBDA_PYTHON}, which compiles the bytecode, and uv could not fetch one. Install it, or name "
        f"one: {PYTHON_VARIABLE}=/path/to/python{LAMBDA_PYTHON}"
    )


def _candidates(environ: Mapping[str, str]) -> Iterator[str]:
    if given := environ.get(PYTHON_VARIABLE):
        yield given
    if sys.version_info[:2] == tuple(map(int, LAMBDA_PYTHON.split("."))):
        yield sys.executable
    if found := shutil.which(f"python{LAMBDA_PYTHON}", path=environ.get("PATH")):
        yield found
    # pyenv's command does not start unless its version is chosen; the interpreter itself does.
    home = Path(environ.get("PYENV_ROOT") or Path(environ.get("HOME", "/")) / ".pyenv")
    yield from (str(path) for path in sorted(home.glob(f"versions/{LAMBDA_PYTHON}.*/bin/python{LAMBDA_PYTHON}")))


def _is_lambda_python(candidate: str) -> bool:
    try:
        said = subprocess.run(
            [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return said.stdout.strip() == LAMBDA_PYTHON


def settle_region(environ: MutableMapping[str, str]) -> None:
    """Have boto3 mean the region that AWS's command line means: it reads AWS_REGION, boto3 AWS_DEFAULT_REGION alone."""
    if region := environ.get("AWS_REGION"):
        environ["AWS_DEFAULT_REGION"] = region


def check_account() -> tuple[str, str]:
    """The account and the region that commands are for. Raises ToolchainError before anything is built."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    region = boto3.session.Session().region_name
    if not region:
        raise ToolchainError("No region is chosen. Set AWS_REGION (docs/deploy.md says which regions have everything).")
    try:
        return str(boto3.client("sts").get_caller_identity()["Account"]), region
    except (BotoCoreError, ClientError) as error:
        raise ToolchainError(
            f"AWS does not know who you are ({error}). Sign in (aws sso login, aws configure), or set AWS_PROFILE."
        ) from error


def validate() -> None:
    """`sam validate --lint`. Raises ToolchainError."""
    _sam("validate", "--lint", failure="The template has faults, which are above.")


def build(architecture: str) -> None:
    """`sam build` into .aws-sam, for the architecture. Raises ToolchainError."""
    _sam(
        "build", "--parameter-overrides", f"Architecture={architecture}", COMPILER=find_python(), ARCHITECTURE=architecture,
        failure="The build failed; what it said last is above.",
    )  # fmt: skip


def _sam(*words: str, failure: str, **variables: str) -> None:
    environment = {**os.environ, "SAM_CLI_TELEMETRY": "0", **variables}
    if subprocess.run([*SAM_COMMAND, *words], cwd=ROOT, env=environment, check=False).returncode:
        raise ToolchainError(failure)
