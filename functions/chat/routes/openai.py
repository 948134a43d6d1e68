"""OpenAI's routes: `/v1/chat/completions` and `/v1/models`."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from functions.chat.dependencies import Deadline, Dependencies, Reader, visit_of
from functions.chat.faults import fault_of
from functions.chat.metrics import verdict_header
from functions.chat.responses import streamed_answer, whole_answer
from functions.chat.wire import completions, schemas, sse
from headrace.filters import parse_filter
from headrace.types import Question


def add_openai_routes(app: FastAPI) -> None:
    """`GET /v1/models`, `GET /v1/models/{name}` and `POST /v1/chat/completions`."""

    @app.get("/v1/models")
    async def models(deps: Dependencies) -> dict[str, Any]:
        return completions.models(deps.answering.answerer.name)

    @app.get("/v1/models/{name}")
    async def model(name: str, deps: Dependencies) -> dict[str, Any]:
        if name != deps.answering.answerer.name:
            raise HTTPException(404, f"There is no model {name!r}. GET /v1/models lists what there is.")
        return completions.model(name)

    @app.post("/v1/chat/completions")
    async def chat_completions(
        body: schemas.CompletionBody, request: Request, deps: Dependencies, asker: Reader, deadline_seconds: Deadline
    ) -> Response:
        """OpenAI's Chat Completions, with the citations beside the answer."""
        text, history = completions.question_of(body)
        parse_filter(body.filter)
        question = Question(text, asker, history=history, filter=body.filter)
        if not body.stream:
            events = await whole_answer(question, deps, visit_of(request), deadline_seconds=deadline_seconds)
            return JSONResponse(completions.completion(body, events), headers=verdict_header(events[0]))
        writer = completions.CompletionWriter(body)
        return await streamed_answer(
            question, deps, visit_of(request), writer.write, _write_error, deadline_seconds=deadline_seconds
        )


def _write_error(error: Exception) -> bytes:
    return sse.encode(fault_of(error)[1])
