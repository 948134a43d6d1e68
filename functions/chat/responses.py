"""An answer's events as an HTTP response: streamed, or collected to its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing

from fastapi.responses import StreamingResponse

from functions.chat.dependencies import ChatDependencies
from functions.chat.metrics import verdict_header
from functions.chat.visit import Visit
from functions.chat.wire import sse
from headrace.answering.answer import answer
from headrace.single_flight.splice import without_false_starts
from headrace.types import AnswerEvent, Question

SSE_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}


async def whole_answer(
    question: Question, deps: ChatDependencies, visit: Visit, *, deadline_seconds: float
) -> list[AnswerEvent]:
    """Every event of the answer. Raises HeadraceError, and TimeoutError at the deadline."""
    visit.begin_search(deps.load)
    events: list[AnswerEvent] = []
    async with asyncio.timeout(deadline_seconds), aclosing(answer(question, deps.answering)) as made:
        async for event in made:
            visit.observe(event)
            events.append(event)
    if deps.report is not None:
        deps.report(visit.metrics)
    return without_false_starts(events)


async def streamed_answer(
    question: Question,
    deps: ChatDependencies,
    visit: Visit,
    write: Callable[[AnswerEvent], bytes],
    write_error: Callable[[Exception], bytes],
    *,
    deadline_seconds: float,
) -> StreamingResponse:
    """The answer as Server-Sent Events, each in the form that `write` gives it.

    A fault before the first event is raised, so that it can still have an honest status code.
    """
    visit.begin_search(deps.load)
    started = time.monotonic()
    events = answer(question, deps.answering)
    try:
        async with asyncio.timeout(deadline_seconds):
            first = await anext(events)
    except BaseException:
        await events.aclose()
        raise

    def observed(event: AnswerEvent) -> bytes:
        visit.observe(event)
        return write(event)

    def report() -> None:
        if deps.report is not None:
            deps.report(visit.metrics)

    body = sse.stream(
        events,
        first=first,
        write=observed,
        write_error=write_error,
        deadline_seconds=deadline_seconds - (time.monotonic() - started),
        on_end=report,
    )
    headers = {**SSE_HEADERS, **verdict_header(first)}
    return StreamingResponse(body, media_type="text/event-stream", headers=headers)
