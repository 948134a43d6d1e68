"""How a question is let in, over HTTP or a socket: a place, within the limits of process and principal, until its answer ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from functions.chat.dependencies import ChatDependencies
from functions.chat.metrics import AnswerMetrics
from functions.chat.tracing import end_span
from functions.chat.visit import Visit
from headrace.errors import LimitExceededError, OverloadedError
from headrace.types import Principal

logger = logging.getLogger("chat")


@asynccontextmanager
async def let_in(
    deps: ChatDependencies,
    identify: Callable[[], Awaitable[Principal]],
    *,
    is_new: bool = True,
    is_lambda: bool = False,
    trace_parent: str = "",
) -> AsyncIterator[Visit]:
    """A visit of whoever `identify` says, within the limits of process and principal; counted at its end.

    `trace_parent` is the span, elsewhere, that this is a part of. One that is not new goes on with a run, or stops it. On
    Lambda nothing goes on behind it.

    Raises LimitExceededError and OverloadedError, and what `identify` raises.
    """
    async with AsyncExitStack() as place:
        try:
            place.enter_context(deps.load.request())
            principal = await identify()
            admission = await deps.limiter.admit(principal, is_new=is_new)
        except (LimitExceededError, OverloadedError) as error:
            _report(AnswerMetrics(refused_for=error.code), deps)
            raise
        visit = Visit(principal, is_recorded=deps.ledger_queue is not None or deps.tracer is not None)
        visit.headers = {**admission.headers, "X-Request-Id": visit.id}
        if deps.tracer is not None:
            visit.span = deps.tracer.begin("request", {"headrace.request.id": visit.id}, parent=trace_parent)
            visit.headers = {**visit.headers, "Traceparent": visit.span.trace_parent}

        async def count() -> None:
            visit.close()
            record = visit.record()
            # Beside each other: who asks next waits for as little as can be.
            settling = [admission.release(tokens=visit.metrics.tokens_spent)]
            if record is not None and deps.ledger_queue is not None:
                settling.append(deps.ledger_queue.put(record))
            if visit.span is not None and deps.tracer is not None:
                end_span(visit.span, record)
                # An environment that is frozen sends nothing.
                settling += [deps.tracer.flush()] if is_lambda else []
            await asyncio.gather(*settling)
            if visit.is_asked or visit.metrics.refused_for:
                _report(visit.metrics, deps)

        place.push_async_callback(count)
        try:
            yield visit
        finally:
            await visit.leave(place, is_lambda=is_lambda)


def _report(figures: AnswerMetrics, deps: ChatDependencies) -> None:
    """Tell whoever counts; if that fails, nothing else does."""
    if deps.report is None:
        return
    try:
        deps.report(figures)
    except Exception:
        logger.exception("an answer is not counted")
