"""`POST /chat`: a question in, typed events or one JSON value out; and its run, followed from any event on, or stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Header, Path, Request
from fastapi.responses import Response

from functions.chat.dependencies import ChatDependencies, Deadline, Dependencies, Reader, visit_of
from functions.chat.faults import write_fault
from functions.chat.responses import begin_run, resumed_response, run_response, whole_answer
from functions.chat.wire import schemas, sse
from functions.chat.wire.bodies import ChatBody
from headrace.errors import InvalidInputError
from headrace.types import AnswerEvent, Principal, TokenEvent, read_event_id

RunId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]
LastEventId = Annotated[str | None, Header(max_length=100)]


def add_ask_routes(app: FastAPI) -> None:
    """`POST /chat`, `GET /runs/{id}` and `POST /runs/{id}/stop`."""

    @app.post("/chat")
    async def chat(  # noqa: PLR0917 - FastAPI passes by name
        body: ChatBody,
        request: Request,
        deps: Dependencies,
        asker: Reader,
        deadline_seconds: Deadline,
        last_event_id: LastEventId = None,
    ) -> Response:
        """Ask: typed Server-Sent Events, or one JSON value with `Accept: application/json`.

        With `Last-Event-ID` nothing is asked: the run that the event was of goes on behind it.
        """
        if last_event_id is not None:
            run_id, number = _read(last_event_id)
            return await _resume(deps, asker, run_id, number, deadline_seconds)
        question, answering = body.question_of(asker), body.answering(deps.answering, asker)
        if _wants_json(request):
            return await whole_answer(
                question,
                answering,
                request,
                deps,
                _WholeWriter(with_contexts=body.contexts),
                deadline_seconds=deadline_seconds,
            )
        run = begin_run(question, answering, visit_of(request), deps, deadline_seconds=deadline_seconds)
        return await run_response(run, request, EventWriter(), deadline_seconds=deadline_seconds)

    @app.get("/runs/{run_id}")
    async def follow(
        run_id: RunId,
        deps: Dependencies,
        asker: Reader,
        deadline_seconds: Deadline,
        last_event_id: LastEventId = None,
    ) -> Response:
        """The run's events, from its first or from the one behind `Last-Event-ID` on."""
        of_run, number = (run_id, 0) if last_event_id is None else _read(last_event_id)
        if of_run != run_id:
            raise InvalidInputError("Last-Event-ID is of another run.", param="Last-Event-ID")
        return await _resume(deps, asker, run_id, number, deadline_seconds)

    @app.post("/runs/{run_id}/stop")
    async def stop(run_id: RunId, deps: Dependencies, asker: Reader) -> dict[str, Any]:
        """Stop the run, in whatever process it is made. `stopped` is false when it was over."""
        run = await deps.runs.find(asker, run_id)
        return {"run_id": run_id, "stopped": await run.stop()}


async def _resume(
    deps: ChatDependencies, asker: Principal, run_id: str, number: int, deadline_seconds: float
) -> Response:
    run = await deps.runs.find(asker, run_id)
    return resumed_response(run, number, EventWriter(), deadline_seconds=deadline_seconds)


def _read(last_event_id: str) -> tuple[str, int]:
    try:
        return read_event_id(last_event_id)
    except ValueError as error:
        raise InvalidInputError(f"Last-Event-ID is no event's id: {error}", param="Last-Event-ID") from None


class EventWriter:
    """Events under their own names, with ids to go on from."""

    def write(self, event: AnswerEvent, event_id: str) -> bytes:
        if isinstance(event, TokenEvent):
            # Nearly all events are tokens.
            return sse.encode_token(event.text, event_id=event_id)
        return sse.encode(schemas.event_payload(event), event=schemas.event_name(event), event_id=event_id)

    def write_error(self, error: Exception) -> bytes:
        return write_fault(error)


class _WholeWriter:
    """All events as one value."""

    def __init__(self, *, with_contexts: bool) -> None:
        self._with_contexts = with_contexts

    def whole(self, events: Sequence[AnswerEvent]) -> dict[str, Any]:
        return schemas.answer_payload(events, with_contexts=self._with_contexts)


def _wants_json(request: Request) -> bool:
    accept = request.headers.get("accept", "")
    return "application/json" in accept and "text/event-stream" not in accept
