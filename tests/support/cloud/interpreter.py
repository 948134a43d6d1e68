"""Python as Lambda has it: the standard library, boto3 and what it needs, and nothing else of this environment."""

from __future__ import annotations

import importlib
from pathlib import Path

# In Lambda's own runtime, and so in no layer.
PROVIDED = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")


def lambda_python(folder: Path, python: str) -> Path:
    """A command that starts the interpreter so; layers come before what the runtime has."""
    provided = folder / "provided"
    provided.mkdir(parents=True, exist_ok=True)
    for name in PROVIDED:
        origin = Path(importlib.import_module(name).__file__ or "")
        source = origin.parent if origin.name == "__init__.py" else origin
        link = provided / source.name
        if not link.exists():
            link.symlink_to(source)
    command = folder / "python"
    command.write_text(
        f'#!/bin/sh\nexport PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}{provided}"\nexec "{python}" -S "$@"\n'
    )
    command.chmod(0o755)
    return command
