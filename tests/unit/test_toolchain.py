"""What building takes is found, or its absence is said, before anything is begun."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from infra.aws import toolchain
from infra.aws.deploy import read_defaults
from infra.aws.toolchain import ToolchainError, find_python
from tests.deploy.template import read_template


def fake_python(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def _another_python_than_lambda_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(toolchain, "ROOT", tmp_path)
    monkeypatch.setattr(toolchain, "UV", Path("/bin/false"))
    monkeypatch.setattr(sys, "version_info", (3, 11, 7, "final", 0))


def test_the_one_that_is_named_comes_first(tmp_path: Path) -> None:
    named = fake_python(tmp_path / "named", "3.13")
    found = fake_python(tmp_path / "bin" / "python3.13", "3.13")
    assert find_python({"PYTHON313": str(named), "PATH": str(found.parent)}) == str(named)
    assert find_python({"PATH": str(found.parent), "HOME": str(tmp_path)}) == str(found)


def test_pyenv_s_is_found_though_its_command_does_not_start(tmp_path: Path) -> None:
    shim = fake_python(tmp_path / "shims" / "python3.13", "'command not found'")
    real = fake_python(tmp_path / ".pyenv" / "versions" / "3.13.0" / "bin" / "python3.13", "3.13")
    assert find_python({"PATH": str(shim.parent), "HOME": str(tmp_path)}) == str(real)


def test_one_that_uv_fetched_is_found_in_the_project(tmp_path: Path) -> None:
    fetched = fake_python(tmp_path / ".uv" / "python" / "cpython-3.13" / "bin" / "python3.13", "3.13")
    assert find_python({"PATH": "", "HOME": str(tmp_path)}) == str(fetched)


def test_none_is_a_sentence_with_the_next_step(tmp_path: Path) -> None:
    other = fake_python(tmp_path / "bin" / "python3.13", "3.12")
    with pytest.raises(ToolchainError, match=r"PYTHON313=/path/to/python3\.13"):
        find_python({"PATH": str(other.parent), "HOME": str(tmp_path)})


def test_defaults_are_those_of_the_template(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = read_template()["Parameters"]
    assert read_defaults() == {name: str(parameter["Default"]) for name, parameter in parameters.items()}
