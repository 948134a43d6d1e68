"""A runtime in this process, against the strict double."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from headrace.lambda_runtime import Runtime, RuntimeOptions
from headrace.lambda_runtime.invocation import ResponseOptions
from tests.support.runtime_api import RuntimeApiDouble

Serve = Callable[..., AbstractAsyncContextManager[RuntimeApiDouble]]


@asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[RuntimeApiDouble]:
    """The runtime with this application; at the end it must not have broken a rule of the Runtime API."""
    response = ResponseOptions(yields=options.get("concurrency", 1) > 1, **options.pop("response", {}))
    async with RuntimeApiDouble().serve() as api:
        runtime = Runtime(RuntimeOptions(api.address, response=response, **options), {})
        task = asyncio.create_task(runtime.run(app))
        waiting = asyncio.create_task(api.ready.wait())
        try:
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            yield api
        finally:
            waiting.cancel()
            task.cancel()
            await asyncio.wait({task, waiting})
        assert api.violations == []


@pytest.fixture
def serve() -> Serve:
    return serving
