"""The whole: load and start the application, take part in a snapshot, then serve N invocations at a time on one loop."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from headrace.lambda_runtime import hooks
from headrace.lambda_runtime.api import RuntimeApi, RuntimeApiError
from headrace.lambda_runtime.context import InvocationContext, enter_invocation
from headrace.lambda_runtime.events import BadEventError, is_socket, read_event
from headrace.lambda_runtime.invocation import Invocation, ResponseOptions
from headrace.lambda_runtime.lifespan import App, Lifespan

TRACE_VARIABLE = "_X_AMZN_TRACE_ID"

logger = logging.getLogger(__name__)


class StartError(Exception):
    """The application can't be loaded; the message says where it was looked for."""


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """What Lambda's environment says, and our own switches (docs/lambda-runtime.md)."""

    address: str
    concurrency: int = 1
    snap_start: bool = False
    log_level: str = "INFO"
    grace_seconds: float = 0.5
    response: ResponseOptions = field(default_factory=ResponseOptions)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> RuntimeOptions:
        """Raises StartError when this is no Lambda environment, or a number is none."""
        address = environ.get("AWS_LAMBDA_RUNTIME_API", "")
        if not address:
            raise StartError(
                "AWS_LAMBDA_RUNTIME_API is not set: this program runs inside Lambda, or a stand-in for it."
            )
        try:
            concurrency = max(1, int(environ.get("AWS_LAMBDA_MAX_CONCURRENCY") or 1))
            grace_seconds = int(environ.get("LAMBDA_RUNTIME_GRACE_MS") or 500) / 1000
        except ValueError as error:
            raise StartError(f"A setting of the runtime is not a number: {error}") from None
        response = ResponseOptions(
            flush_sse=environ.get("LAMBDA_RUNTIME_FLUSH_SSE") == "1",
            fill_empty=environ.get("LAMBDA_RUNTIME_FILL_EMPTY") == "1",
            yields=concurrency > 1,
        )
        return cls(
            address=address,
            concurrency=concurrency,
            snap_start=environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start",
            log_level=environ.get("AWS_LAMBDA_LOG_LEVEL") or environ.get("LOG_LEVEL") or "INFO",
            grace_seconds=grace_seconds,
            response=response,
        )


def load_app(target: str) -> App:
    """The application at `module:name` or `module.name`. Raises StartError."""
    module_name, _, name = target.rpartition(":" if ":" in target else ".")
    if not module_name or not name:
        raise StartError(f"{target!r} names no application. Give module:app, as in functions.chat.main:app.")
    module = importlib.import_module(module_name)
    app = getattr(module, name, None)
    if not callable(app):
        raise StartError(f"The module {module_name!r} has no application named {name!r}.")
    return cast("App", app)


class Runtime:
    """One execution environment."""

    def __init__(self, options: RuntimeOptions, environ: Mapping[str, str]) -> None:
        self._options = options
        self._environ = dict(environ)  # os.environ decodes at every look

    async def run(self, target: str | App) -> int:
        """Serve an application, or the one at `module:app`, until SIGTERM (0) or until nothing can go on (1)."""
        api = RuntimeApi(self._options.address)
        try:
            try:
                lifespan = await self._start(target)
                if self._options.snap_start:
                    await hooks.run_before_snapshot()
            except Exception as error:
                logger.exception("the start failed")
                # The application's own words may hold secrets; ours don't.
                message = str(error) if isinstance(error, StartError) else "The start failed; the log says why."
                await api.init_error(type(error).__name__, message)
                return 1
            if self._options.snap_start and not await self._restore(api):
                return 1
            try:
                await self._serve(lifespan)
            finally:
                await lifespan.shutdown()
        except RuntimeApiError:
            logger.exception("the Runtime API failed")
            return 1
        finally:
            await api.aclose()
        return 0

    async def _start(self, target: str | App) -> Lifespan:
        self._app = load_app(target) if isinstance(target, str) else target
        lifespan = Lifespan(self._app)
        await lifespan.startup()
        return lifespan

    async def _restore(self, api: RuntimeApi) -> bool:
        await api.restore_next()
        try:
            await hooks.run_after_restore()
        except Exception as error:
            logger.exception("a hook failed after the restore")
            await api.restore_error(type(error).__name__, "A hook failed after the restore; the log says why.")
            return False
        return True

    async def _serve(self, lifespan: Lifespan) -> None:
        """N pollers on this loop, until one fails or SIGTERM ends them."""
        stop = asyncio.Event()
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        pollers = {asyncio.create_task(self._poll(lifespan.state)) for _ in range(self._options.concurrency)}
        stopping = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait({*pollers, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*pollers, stopping):
                task.cancel()
            await asyncio.wait({*pollers, stopping})
        for task in done - {stopping}:
            task.result()

    async def _poll(self, state: Mapping[str, Any]) -> None:
        api = RuntimeApi(self._options.address)
        try:
            while True:
                await api.prepare_response()
                answer = await api.next()
                context = InvocationContext.from_headers(answer.headers, self._environ)
                # A task of its own, so that nothing that one invocation sets reaches the next.
                await asyncio.create_task(self._handle(api, context, answer.body, state))
        except ValueError as error:
            raise RuntimeApiError(str(error)) from error
        finally:
            await api.aclose()

    async def _handle(
        self, api: RuntimeApi, context: InvocationContext, event: bytes, state: Mapping[str, Any]
    ) -> None:
        enter_invocation(context)
        if self._options.concurrency == 1:
            self._set_trace(context.trace_id)
        given = _json(event)
        # A WebSocket API takes a whole response.
        invocation = Invocation(api, context, replace(self._options.response, whole=is_socket(given)))
        try:
            scope, body = read_event(given, context)
            scope["state"] = dict(state)
            await invocation.run(self._app, scope, body, grace_seconds=self._options.grace_seconds)
        except BadEventError as error:
            logger.warning("%s", error)
            await invocation.fail("Runtime.BadEvent", str(error))
        except RuntimeApiError:
            # One answer is lost. Whether the environment can go on, the next poll will tell.
            logger.exception("an answer could not be delivered")

    def _set_trace(self, trace_id: str | None) -> None:
        # X-Ray's SDKs read it from the environment; with several invocations at once they can't.
        if trace_id:
            os.environ[TRACE_VARIABLE] = trace_id
        else:
            os.environ.pop(TRACE_VARIABLE, None)


def _json(event: bytes) -> Any:
    try:
        return json.loads(event)
    except (ValueError, RecursionError):
        return None
