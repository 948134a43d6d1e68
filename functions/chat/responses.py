"""Answers as HTTP responses, whole or as a stream. What nobody waits for any longer is ended."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from functions.chat.dependencies import ChatDependencies, visit_of
from functions.chat.metrics import verdict_header
from functions.chat.visit import Visit
from functions.chat.wire import sse
from headrace.answering.answer import answer
from headrace.answering.dependencies import AnswerDependencies
from headrace.concurrency.tasks import running
from headrace.errors import AbandonedError
from headrace.runs.run import Run
from headrace.runs.runs import DistantRun
from headrace.single_flight.splice import without_false_starts
from headrace.types import AnswerEvent, DoneEvent, Question, StepEvent, TokenEvent, event_id

T = TypeVar("T")
RunStream = sse.EventStream[tuple[int, AnswerEvent]]

SSE_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
# The response's head waits so long for the answer's first word: a model that refuses is then a status code, and not an
# error inside of a 200.
HOLD_SECONDS = 2.0
# Who reads a run waits so much longer than the run may take.
LATER_SECONDS = 1.0


class WholeWriter(Protocol):
    """The form of a whole answer on the wire."""

    def whole(self, events: Sequence[AnswerEvent]) -> dict[str, Any]:
        """What all events are together."""


class AnswerWriter(WholeWriter, Protocol):
    """The form of an answer on the wire, whole or in pieces."""

    def write(self, event: AnswerEvent) -> bytes:
        """What the event is; nothing where it has nothing to say."""

    def write_error(self, error: Exception) -> bytes:
        """What a fault is, after which nothing comes."""


class RunWriter(Protocol):
    """The form of a run's events on the wire, each with the id that a reader resumes from."""

    def write(self, event: AnswerEvent, event_id: str) -> bytes:
        """What the event is."""

    def write_error(self, error: Exception) -> bytes:
        """What a fault is, after which nothing comes."""


async def whole_answer(
    question: Question,
    answering: AnswerDependencies,
    request: Request,
    deps: ChatDependencies,
    writer: WholeWriter,
    *,
    deadline_seconds: float,
) -> JSONResponse:
    """The whole answer, in the form that `writer` gives it. Raises what `whole_events` raises."""
    events = await whole_events(question, answering, request, deps, deadline_seconds=deadline_seconds)
    return JSONResponse(writer.whole(events), headers=verdict_header(events[0]))


async def whole_events(
    question: Question,
    answering: AnswerDependencies,
    request: Request,
    deps: ChatDependencies,
    *,
    deadline_seconds: float,
) -> list[AnswerEvent]:
    """A whole answer's events, without what its readers were told to forget.

    Raises HeadraceError, TimeoutError at the deadline, AbandonedError when the client left.
    """
    visit = visit_of(request)
    visit.begin_answer(question, deps.load, asked=answering.answerer.name)

    async def make() -> list[AnswerEvent]:
        events: list[AnswerEvent] = []
        async with asyncio.timeout(deadline_seconds), aclosing(answer(question, answering)) as made:
            async for event in made:
                visit.observe(event)
                events.append(event)
        return events

    try:
        events = await unless_abandoned(request.receive, make())
    except Exception as error:
        visit.fail(error)
        raise
    return without_false_starts(events)


async def streamed_answer(
    question: Question,
    answering: AnswerDependencies,
    request: Request,
    deps: ChatDependencies,
    writer: AnswerWriter,
    *,
    deadline_seconds: float,
) -> EventResponse:
    """The answer as Server-Sent Events, each in the form that `writer` gives it.

    A fault before the answer's first word, within HOLD_SECONDS, is raised, so that it has an honest status code.
    """
    visit = visit_of(request)
    visit.begin_answer(question, deps.load, asked=answering.answerer.name)

    def observed(event: AnswerEvent) -> bytes:
        visit.observe(event)
        return writer.write(event)

    def failed(error: Exception) -> bytes:
        visit.fail(error)
        return writer.write_error(error)

    stream = sse.EventStream(
        answer(question, answering),
        write=observed,
        write_error=failed,
        deadline_seconds=deadline_seconds,
        begins=_is_answer,
    )
    try:
        first = await unless_abandoned(request.receive, stream.begin(hold_seconds=HOLD_SECONDS))
    except BaseException as error:
        visit.fail(error)
        await stream.aclose()
        raise
    return EventResponse(stream, verdict_header(first) if first is not None else {})


def begin_run(
    question: Question, answering: AnswerDependencies, visit: Visit, deps: ChatDependencies, *, deadline_seconds: float
) -> Run:
    """Have the answer made in a run of its own. Raises OverloadedError."""
    visit.begin_answer(question, deps.load, asked=answering.answerer.name)

    visit.run = deps.runs.begin(
        question.principal,
        lambda stop: answer(question, answering, stop),
        run_id=visit.id,
        observe=visit.observe,
        deadline_seconds=deadline_seconds,
    )
    return visit.run


async def run_response(run: Run, request: Request, writer: RunWriter, *, deadline_seconds: float) -> EventResponse:
    """A run's events from its first, as it is made. The run goes on when the client leaves, but not before it knows the run's name."""
    stream = _run_stream(run, 0, writer, deadline_seconds)
    try:
        first = await unless_abandoned(request.receive, stream.begin(hold_seconds=HOLD_SECONDS))
    except BaseException:
        run.ask_to_stop()
        await stream.aclose()
        raise
    verdict = verdict_header(first[1]) if first is not None else {}
    return EventResponse(stream, {**verdict, "X-Run-Id": run.id})


def resumed_response(run: Run | DistantRun, after: int, writer: RunWriter, *, deadline_seconds: float) -> EventResponse:
    """A run's events behind number `after`, as they come."""
    stream = _run_stream(run, after, writer, deadline_seconds)
    return EventResponse(stream, {"X-Run-Id": run.id})


def _run_stream(run: Run | DistantRun, after: int, writer: RunWriter, deadline_seconds: float) -> RunStream:
    return sse.EventStream(
        run.events(after),
        write=lambda numbered: writer.write(numbered[1], event_id(run.id, numbered[0])),
        write_error=writer.write_error,
        # The run says itself that its time is up, and is over then.
        deadline_seconds=deadline_seconds + LATER_SECONDS,
        begins=lambda numbered: _is_answer(numbered[1]),
    )


class EventResponse(Response):
    """A stream's response, which ends the stream with itself, whether or not its body was ever begun."""

    media_type = "text/event-stream"

    def __init__(self, stream: sse.EventStream[Any], headers: Mapping[str, str]) -> None:
        super().__init__(headers={**SSE_HEADERS, **headers})
        # How much comes, nobody knows.
        del self.headers["content-length"]
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        async def sink(chunk: bytes) -> None:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await unless_abandoned(receive, self._stream.write_to(sink))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except AbandonedError:
            # Nobody is there to be told of it.
            return
        except OSError:
            raise ClientDisconnect from None
        finally:
            await self._stream.aclose()


def _is_answer(event: AnswerEvent) -> bool:
    return isinstance(event, TokenEvent | StepEvent | DoneEvent)


async def unless_abandoned(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """What the work gives; it is cancelled when the client leaves. Raises AbandonedError then."""
    async with running(work) as working, running(_abandoned(receive)) as leaving:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise AbandonedError("The client left before the answer came.")
        return await working


async def _abandoned(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
