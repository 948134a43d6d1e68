"""How much a random test tries: a share in each run, all of it with HEADRACE_SOAK=1 (`make soak`)."""

from __future__ import annotations

import os

SOAK = bool(os.environ.get("HEADRACE_SOAK"))


def tries(each_run: int, soak: int) -> int:
    """The number of tries in this run."""
    return soak if SOAK else each_run
