"""The chat function: composition root. `app` for a server or the streaming runtime, `handler` for buffered doors."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from functions.chat.lean_imports import lean_imports
from headrace import wiring
from headrace.concurrency.handler_loop import HandlerLoop
from headrace.concurrency.on_demand import on_demand
from headrace.concurrency.renewing import LOOK_SECONDS, Renewing
from headrace.errors import ConfigurationError
from headrace.settings import Settings

with lean_imports():
    from functions.chat.app import create_app
    from functions.chat.dependencies import ChatDependencies, Sockets
    from functions.chat.load import Load
    from functions.chat.metrics import report_to_cloudwatch, report_to_prometheus

# Questions that are under way have thousands of objects; at Python's 700 they are looked through again and again.
GC_OBJECTS = 10_000
# The longest invocation: who still answers with what was replaced has done so by then.
LINGER_SECONDS = 300.0


async def read_settings() -> Settings:
    """What the environment says, and the secret that it names."""
    return await wiring.read_settings(os.environ)


@asynccontextmanager
async def open_dependencies() -> AsyncIterator[ChatDependencies]:
    """The real parts, from the environment; when the secret has changed, the application gets others."""
    parts = Renewing(read_settings, open_with, look_seconds=LOOK_SECONDS, linger_seconds=LINGER_SECONDS)
    async with parts.watched(use_instead) as deps:
        if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
            # A snapshot may be weeks old, and its secret with it.
            from headrace.lambda_runtime import after_restore

            after_restore(lambda: parts.look_now(use_instead))
        freeze_heap()
        yield deps


def use_instead(deps: ChatDependencies) -> None:
    """Have new requests use these; how busy the process is stays counted where it was."""
    app.state.dependencies = replace(deps, load=app.state.dependencies.load)


@asynccontextmanager
async def open_with(settings: Settings) -> AsyncIterator[ChatDependencies]:
    """The real parts, as the settings shape them."""
    is_lambda = "AWS_LAMBDA_FUNCTION_NAME" in os.environ
    if is_lambda and "none" in settings.authenticators:
        raise ConfigurationError(
            "This function would authenticate nobody (AUTH=none), which is for a server on one's own machine. "
            "Set AUTH to iam where the URL's AuthType is AWS_IAM, else to api_keys or jwt."
        )
    async with (
        wiring.open_redis(settings) as redis,
        wiring.open_authenticator(settings, redis) as authenticator,
        wiring.open_tracer(settings) as tracer,
        wiring.open_answering(settings, redis, tracer) as answering,
        wiring.open_runs(settings, redis) as runs,
        wiring.open_socket_sender() as sender,
        on_demand(partial(wiring.open_ledger, settings)) as ledger,
    ):
        yield ChatDependencies(
            answering=answering,
            authenticator=authenticator,
            limiter=wiring.rate_limiter_on(redis, settings),
            load=Load(settings.most_open_requests),
            runs=runs,
            sockets=Sockets(wiring.socket_registry_on(redis), sender, settings.websocket_api_url),
            cache_maintenance=wiring.cache_maintenance_on(redis, settings),
            deadline_seconds=settings.answer_deadline_seconds,
            files=wiring.files_in(settings),
            upload_origin=wiring.upload_origin(settings),
            max_document_bytes=settings.max_document_bytes,
            citations=settings.openai_citations,
            tracer=tracer,
            trace_url=settings.trace_url,
            ledger_queue=wiring.ledger_queue_on(redis, settings),
            ledger=ledger if settings.ledger_kind == "sql" else None,
            **await metrics_of(settings, is_lambda=is_lambda),
        )


async def metrics_of(settings: Settings, *, is_lambda: bool) -> dict[str, Any]:
    """What is done with each answer's figures, and what shows them. Raises ConfigurationError."""
    pricing = wiring.pricing_of(settings)
    match settings.metrics_kind(is_lambda=is_lambda):
        case "cloudwatch":
            return {"report": partial(report_to_cloudwatch, namespace=settings.metrics_namespace, pricing=pricing)}
        case "prometheus":
            # It opens its files when it is loaded.
            prometheus = await asyncio.to_thread(importlib.import_module, "headrace.observability.prometheus")
            exposition = partial(prometheus.exposition, settings.prometheus_multiproc_dir)
            return {"report": partial(report_to_prometheus, pricing=pricing), "exposition": exposition}
        case _:
            return {}


def freeze_heap() -> None:
    """Have the garbage collector run seldom, and only over what is allocated from now on: what is there stays.

    A collection before would cost a cold start, and find next to nothing.
    """
    gc.freeze()
    gc.set_threshold(GC_OBJECTS)


with lean_imports():
    app = create_app(open_dependencies)


async def _no_settings() -> None:
    """The application reads its settings itself."""


handler_loop = HandlerLoop(Renewing(_no_settings, lambda _: app.router.lifespan_context(app)))


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one buffered invocation: API Gateway, a load balancer, a BUFFERED URL or `sam remote invoke`."""
    from mangum import Mangum

    # Mangum's own lifespan would start and end the application at every call. Ours opens once.
    handler_loop.open()
    return Mangum(app, lifespan="off")(event, context)
