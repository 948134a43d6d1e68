"""`python -m headrace.lambda_runtime module:app`: what the exec wrapper starts in place of Lambda's own runtime."""

from __future__ import annotations

import asyncio
import os
import sys

from headrace.lambda_runtime.logs import configure_logging
from headrace.lambda_runtime.loop import Runtime, RuntimeOptions, StartError


def main() -> int:
    """Serve until the environment ends; 1 when it can't start or can't go on, 2 for a wrong call."""
    if len(sys.argv) != 2:
        print("usage: python -m headrace.lambda_runtime module:app", file=sys.stderr)  # noqa: T201
        return 2
    try:
        options = RuntimeOptions.from_env(os.environ)
    except StartError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    configure_logging(options.log_level)
    return asyncio.run(Runtime(options, os.environ).run(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
