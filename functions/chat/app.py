"""The chat application: routes and error pages, nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from functions.chat import completions, schemas, sse
from functions.chat.cache import add_cache_routes
from functions.chat.documents import add_document_routes
from functions.chat.metrics import reported, verdict_header
from functions.chat.parts import (
    SSE_HEADERS,
    Asker,
    ChatParts,
    Deadline,
    OpenParts,
    Parts,
    error_response,
    fault_of,
    validation_fault,
    write_fault,
)
from headrace.answering.answer import Question, answer
from headrace.answering.splice import without_false_starts
from headrace.errors import HeadraceError, InvalidInputError
from headrace.filters import parse_filter
from headrace.protocols import Checkable
from headrace.types import AnswerEvent

CHECK_TIMEOUT_SECONDS = 5.0
PAGE = Path(__file__).with_name("page.html").read_text(encoding="utf-8")


Events = AsyncGenerator[AnswerEvent, None]


def create_app(open_parts: OpenParts) -> FastAPI:
    """The application; `open_parts` is entered once at start-up and left at shutdown."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_parts() as parts:
            app.state.parts = parts
            yield

    app = FastAPI(title="Headrace", lifespan=lifespan, docs_url=None, redoc_url=None)
    _add_error_pages(app)
    _add_service_routes(app)
    add_document_routes(app)
    _add_chat_routes(app)
    _add_openai_routes(app)
    add_cache_routes(app)
    return app


def _add_service_routes(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Alive; touches nothing."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz(parts: Parts) -> JSONResponse:
        """Which part is not ready, and why."""
        verdicts = await asyncio.gather(*(_verdict(part) for part in parts.answering.checks.values()))
        ready = all(verdict["ready"] for verdict in verdicts)
        body = {"ready": ready, "parts": dict(zip(parts.answering.checks, verdicts, strict=True))}
        return JSONResponse(body, status_code=200 if ready else 503)


def _add_chat_routes(app: FastAPI) -> None:
    @app.post("/chat")
    async def chat(
        body: schemas.ChatBody, request: Request, parts: Parts, asker: Asker, deadline_seconds: Deadline
    ) -> Response:
        """Ask: typed Server-Sent Events, or one JSON value with `Accept: application/json`."""
        if not body.question.strip():
            raise InvalidInputError("The question is empty. Ask something.", param="question")
        parse_filter(body.filter)
        question = Question(body.question, asker, conversation_id=body.conversation_id, filter=body.filter)
        if _wants_json(request):
            events = await _whole(question, parts, deadline_seconds)
            return JSONResponse(schemas.answer_payload(events), headers=verdict_header(events[0]))

        def write(event: AnswerEvent) -> bytes:
            return sse.encode(schemas.event_payload(event), event=schemas.event_name(event))

        return await _streamed(question, parts, write, write_fault, deadline_seconds=deadline_seconds)


def _add_openai_routes(app: FastAPI) -> None:
    @app.get("/v1/models")
    async def models(parts: Parts) -> dict[str, Any]:
        return completions.models(_model_name(parts))

    @app.get("/v1/models/{name}")
    async def model(name: str, parts: Parts) -> dict[str, Any]:
        if name != _model_name(parts):
            raise HTTPException(404, f"There is no model {name!r}. GET /v1/models lists what there is.")
        return completions.model(name)

    @app.post("/v1/chat/completions")
    async def chat_completions(
        body: schemas.CompletionBody, parts: Parts, asker: Asker, deadline_seconds: Deadline
    ) -> Response:
        """OpenAI's Chat Completions, with the citations beside the answer."""
        text, history = completions.question_of(body)
        parse_filter(body.filter)
        question = Question(text, asker, history=history, filter=body.filter)
        if not body.stream:
            events = await _whole(question, parts, deadline_seconds)
            return JSONResponse(completions.completion(body, events), headers=verdict_header(events[0]))

        def write_error(error: Exception) -> bytes:
            return sse.encode(fault_of(error)[1])

        writer = completions.CompletionWriter(body)
        return await _streamed(question, parts, writer.write, write_error, deadline_seconds=deadline_seconds)


def _add_error_pages(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return error_response(validation_fault(error))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        body = schemas.error_payload(str(error.detail), code=f"http_{error.status_code}", kind="invalid_request_error")
        return JSONResponse(body, status_code=error.status_code, headers=error.headers)

    async def fault(request: Request, error: Exception) -> JSONResponse:
        return error_response(error)

    for kind in (HeadraceError, TimeoutError, Exception):
        app.add_exception_handler(kind, fault)


async def _whole(question: Question, parts: ChatParts, deadline_seconds: float) -> list[AnswerEvent]:
    async with asyncio.timeout(deadline_seconds):
        heard = reported(answer(question, parts.answering), parts.report)
        return without_false_starts([event async for event in heard])


async def _streamed(
    question: Question,
    parts: ChatParts,
    write: Callable[[AnswerEvent], bytes],
    write_error: Callable[[Exception], bytes],
    *,
    deadline_seconds: float,
) -> StreamingResponse:
    events = reported(answer(question, parts.answering), parts.report)
    started = time.monotonic()
    # A fault before the first event can still have an honest status code.
    async with asyncio.timeout(deadline_seconds):
        first = await anext(events)
    left_seconds = deadline_seconds - (time.monotonic() - started)
    body = sse.stream(_chain(first, events), write=write, write_error=write_error, deadline_seconds=left_seconds)
    headers = {**SSE_HEADERS, **verdict_header(first)}
    return StreamingResponse(body, media_type="text/event-stream", headers=headers)


async def _chain(first: AnswerEvent, rest: Events) -> Events:
    try:
        yield first
        async for event in rest:
            yield event
    finally:
        await rest.aclose()


async def _verdict(part: Checkable) -> dict[str, Any]:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            await part.check()
    except TimeoutError:
        return {"ready": False, "reason": f"It did not answer within {CHECK_TIMEOUT_SECONDS:g} seconds."}
    except HeadraceError as error:
        return {"ready": False, "reason": str(error)}
    return {"ready": True}


def _wants_json(request: Request) -> bool:
    accept = request.headers.get("accept", "")
    return "application/json" in accept and "text/event-stream" not in accept


def _model_name(parts: ChatParts) -> str:
    return "headrace-extractive" if parts.answering.model.is_extractive else "headrace"
