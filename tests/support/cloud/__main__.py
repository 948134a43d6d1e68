"""Runs it: `python -m tests.support.cloud --python PYTHON --folder FOLDER`, with MiniStack's own variables (GATEWAY_PORT …)."""

from __future__ import annotations

import argparse
import os
import sys
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.support.cloud.cache import add_serverless_cache
from tests.support.cloud.interpreter import lambda_python
from tests.support.cloud.streaming import StreamingUrls
from tests.support.cloud.vectors import add_vector_buckets


def _stand_for_tls(iam: Any, emulator: Any) -> None:
    """Let loopback count as TLS, which AWS's endpoints speak: the template's policies refuse what comes without."""
    vars(iam)["_request_origin"] = ContextVar("origin", default=("127.0.0.1", True))
    vars(emulator)["pin_request_origin"] = lambda source_ip, _secure: iam._request_origin.set((source_ip, True))


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True, help="the interpreter that functions run on")
    parser.add_argument("--folder", type=Path, required=True, help="where functions and caches live")
    given = parser.parse_args()
    # What finds this repository must not find it for the functions.
    os.environ.pop("PYTHONPATH", None)
    sys.argv = sys.argv[:1]
    emulator = import_module("ministack.app")
    # Read by then; to the functions it would be a setting of theirs.
    os.environ.pop("AUTH", None)
    runtime = import_module("ministack.core.lambda_runtime")
    _stand_for_tls(import_module("ministack.core.iam_evaluator"), emulator)
    python = lambda_python(given.folder / "bin", given.python)
    script = vars(runtime)["_PYTHON_WORKER_SCRIPT"]
    vars(runtime)["_detect_runtime_binary"] = lambda _runtime: (str(python), script)
    add_serverless_cache(given.folder)
    urls = StreamingUrls(given.folder / "environments", python)
    functions = import_module("ministack.services.lambda_svc")
    vars(functions)["handle_function_url_request"] = urls.wrapped(functions.handle_function_url_request)
    vars(emulator)["app"] = add_vector_buckets()(urls.middleware(emulator.app))
    emulator.main()


if __name__ == "__main__":
    main()
