"""A function as Lambda runs it: a process of its own, launched with Lambda's variables, served by the Runtime API.

`chat` runs on the streaming runtime, through the same exec wrapper as on AWS;
the others on AWS's own runtime (awslambdaric).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from infra.local.processes import ROOT, Processes, StackError
from infra.local.runtime_api import RuntimeApiServer

WRAPPER = ROOT / "shared" / "headrace" / "lambda_runtime" / "bootstrap.sh"
START_SECONDS = 30.0
# One process serves so many streams on one loop, as on Lambda Managed Instances.
CHAT_CONCURRENCY = 64


class LocalFunction:
    """A running function. `invoke` is Lambda's Invoke; `api` streams."""

    def __init__(self, name: str, api: RuntimeApiServer) -> None:
        self.name = name
        self.api = api

    async def invoke(self, event: Mapping[str, Any], *, timeout_seconds: float) -> Any:
        """The handler's answer. Raises StackError with the function's own error."""
        outcome = await self.api.run(dict(event), timeout_seconds=timeout_seconds)
        if outcome.payload is None:
            raise StackError(
                f"The function {self.name} failed: {(outcome.error or {}).get('errorMessage', 'no answer')}"
            )
        return json.loads(outcome.payload)


@asynccontextmanager
async def running_function(
    name: str, handler: str, environ: Mapping[str, str], *, streaming: bool, on_death: Callable[[], None]
) -> AsyncIterator[LocalFunction]:
    """Launch a function and wait until it asks for its first event. Raises StackError when it does not start.

    `on_death` is called when its process ends by itself.
    """
    concurrency = CHAT_CONCURRENCY if streaming else 1
    environment = {
        **environ,
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "2048",
        "LAMBDA_TASK_ROOT": str(ROOT),
        "_HANDLER": handler,
    }
    if concurrency > 1:
        environment["AWS_LAMBDA_MAX_CONCURRENCY"] = str(concurrency)
    command = [str(WRAPPER), sys.executable] if streaming else [sys.executable, "-m", "awslambdaric", handler]
    async with RuntimeApiServer().serve() as api, Processes(None) as processes:
        environment["AWS_LAMBDA_RUNTIME_API"] = api.address
        child = await processes.start(name, command, environment)

        async def polls() -> bool:
            return api.ready.is_set()

        await processes.until_ready(child, polls, seconds=START_SECONDS)
        death = asyncio.create_task(child.process.wait())
        death.add_done_callback(lambda task: None if task.cancelled() else on_death())
        try:
            yield LocalFunction(name, api)
        finally:
            death.cancel()


def end_with_function() -> None:
    """End this process because its function has ended; the stack, which watches it, then says so."""
    print("The function's process ended.", file=sys.stderr, flush=True)
    os._exit(1)
