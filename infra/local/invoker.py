"""Invokes a handler: here and now, or as a Lambda process with a Runtime API of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from infra.local.lambda_context import LocalContext
from infra.local.lambda_function import end_with_function, running_function

Invoke = Callable[[dict[str, Any]], Any]


@contextmanager
def invoker(name: str, handler: str, *, timeout_seconds: float, as_lambda: bool) -> Iterator[Invoke]:
    """A function that takes an event and gives the handler's answer; what the handler raises comes through."""
    if as_lambda:
        with _lambda_invoker(name, handler, timeout_seconds) as invoke:
            yield invoke
        return
    module, _, function = handler.rpartition(".")
    call = getattr(import_module(module), function)
    yield lambda event: call(event, LocalContext(name, timeout_seconds=timeout_seconds))


@contextmanager
def _lambda_invoker(name: str, handler: str, timeout_seconds: float) -> Iterator[Invoke]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=f"{name}-runtime-api", daemon=True)
    thread.start()
    context = running_function(name, handler, os.environ, streaming=False, on_death=end_with_function)
    function = asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result()
    try:
        yield lambda event: asyncio.run_coroutine_threadsafe(
            function.invoke(event, timeout_seconds=timeout_seconds), loop
        ).result()
    finally:
        asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
