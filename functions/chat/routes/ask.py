"""`POST /chat`: a question in, typed events or one JSON value out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from functions.chat.dependencies import Deadline, Dependencies, Reader
from functions.chat.faults import write_fault
from functions.chat.responses import streamed_answer, whole_answer
from functions.chat.wire import schemas, sse
from headrace.errors import InvalidInputError
from headrace.types import AnswerEvent, Question


def add_ask_routes(app: FastAPI) -> None:
    """`POST /chat`."""

    @app.post("/chat")
    async def chat(
        body: schemas.ChatBody, request: Request, deps: Dependencies, asker: Reader, deadline_seconds: Deadline
    ) -> Response:
        """Ask: typed Server-Sent Events, or one JSON value with `Accept: application/json`."""
        if not body.question.strip():
            raise InvalidInputError("The question is empty. Ask something.", param="question")
        wanted = schemas.filter_of(body.filter)
        question = Question(body.question, asker, conversation_id=body.conversation_id, filter=wanted)
        answering = deps.answering.using(body.model) if body.model else deps.answering
        respond = whole_answer if _wants_json(request) else streamed_answer
        return await respond(question, answering, request, deps, _Writer(), deadline_seconds=deadline_seconds)


class _Writer:
    """Events under their own names."""

    def write(self, event: AnswerEvent) -> bytes:
        return sse.encode(schemas.event_payload(event), event=schemas.event_name(event))

    def write_error(self, error: Exception) -> bytes:
        return write_fault(error)

    def whole(self, events: Sequence[AnswerEvent]) -> dict[str, Any]:
        return schemas.answer_payload(events)


def _wants_json(request: Request) -> bool:
    accept = request.headers.get("accept", "")
    return "application/json" in accept and "text/event-stream" not in accept
