"""What SAM makes of the template: `python -m tests.support.transform OUT [Parameter=value …]`, where SAM's translator is installed."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CODE = {"CodeUri", "ContentUri"}


class _NoPolicies:
    """The template names no policy of AWS's own."""

    def load(self) -> dict[str, str]:
        return {}


def transformed(parameters: dict[str, str]) -> Any:
    """The template after the transform, for these parameters."""
    template = import_module("samtranslator.yaml_helper").yaml_parse((ROOT / "template.yaml").read_text())
    for resource in template["Resources"].values():
        for name in CODE & set(resource["Properties"]):
            # As `sam deploy` has it, once it has put the code up.
            resource["Properties"][name] = "s3://artifacts/code"
    return import_module("samtranslator.translator.transform").transform(template, parameters, _NoPolicies())


if __name__ == "__main__":
    given = dict(word.split("=", 1) for word in sys.argv[2:])
    Path(sys.argv[1]).write_text(json.dumps(transformed(given), indent=1))
