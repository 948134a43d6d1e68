"""Lambda's artifacts, built once for the tests of this folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both layers and the chat function, built by their recipes for this machine's Python."""
    built = {}
    for name, place in (
        ("RuntimeLayer", "shared"),
        ("ParsingLayer", "shared"),
        ("LedgerLayer", "shared"),
        ("ChatFunction", "functions/chat"),
    ):
        folder = tmp_path_factory.mktemp(name)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        platform = f"{os.uname().machine}-manylinux_2_34"
        variables = [
            f"ARTIFACTS_DIR={folder}",
            f"PYTHON_VERSION={version}",
            f"PLATFORM={platform}",
            f"COMPILER={sys.executable}",
        ]
        command = ["make", "-f", str(ROOT / place / "Makefile"), f"build-{name}", *variables]
        subprocess.run(command, check=True, cwd=folder, capture_output=True, text=True, timeout=300)
        built[name] = folder if name.endswith("Function") else folder / "python"
    return built
