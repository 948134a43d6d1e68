"""The chat application: routes and error pages, nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from functions.chat import completions, schemas, sse
from functions.chat.answer import AnswerParts, Question, answer
from headrace.errors import ConfigurationError, HeadraceError, InvalidInputError, UnavailableError
from headrace.filters import parse_filter
from headrace.protocols import Checkable
from headrace.types import AnswerEvent, Principal

CHECK_TIMEOUT_SECONDS = 5.0
# Time to say, in the stream, that the deadline has come.
DEADLINE_MARGIN_SECONDS = 2.0
PAGE = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
SSE_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}

logger = logging.getLogger("chat")


@dataclass(frozen=True, slots=True)
class ChatParts:
    """What the routes work with. `checks` names each part that /readyz asks."""

    answering: AnswerParts
    checks: Mapping[str, Checkable]
    deadline_seconds: float


OpenParts = Callable[[], AbstractAsyncContextManager[ChatParts]]
Events = AsyncGenerator[AnswerEvent, None]


def parts_of(request: Request) -> ChatParts:
    """The parts that the lifespan opened."""
    parts: ChatParts = request.app.state.parts
    return parts


def deadline_of(request: Request) -> float:
    """Seconds that an answer may take: the deployment's limit, or what Lambda leaves of the invocation if that is less."""
    limit_seconds = parts_of(request).deadline_seconds
    context = request.scope.get("aws.context")
    if context is None:
        return limit_seconds
    return max(0.0, min(limit_seconds, context.get_remaining_time_in_millis() / 1000 - DEADLINE_MARGIN_SECONDS))


def principal_of() -> Principal:
    """Who asks. No authentication is configured: everybody is the default tenant."""
    return Principal()


Parts = Annotated[ChatParts, Depends(parts_of)]
Asker = Annotated[Principal, Depends(principal_of)]
Deadline = Annotated[float, Depends(deadline_of)]


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
    _add_chat_routes(app)
    _add_openai_routes(app)
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
        verdicts = await asyncio.gather(*(_verdict(part) for part in parts.checks.values()))
        ready = all(verdict["ready"] for verdict in verdicts)
        body = {"ready": ready, "parts": dict(zip(parts.checks, verdicts, strict=True))}
        return JSONResponse(body, status_code=200 if ready else 503)

    @app.get("/documents")
    async def documents(parts: Parts, asker: Asker) -> dict[str, Any]:
        """Every document that the asker may see, with its state."""
        found = [d for d in await parts.answering.registry.documents(asker.tenant) if asker.may_see(d.groups)]
        return {"documents": [schemas.document_payload(document) for document in found]}


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
            return JSONResponse(schemas.answer_payload(await _whole(question, parts, deadline_seconds)))

        def write(event: AnswerEvent) -> bytes:
            return sse.encode(schemas.event_payload(event), event=schemas.event_name(event))

        def write_error(error: Exception) -> bytes:
            return sse.encode(_fault(error)[1]["error"], event="error")

        return await _streamed(question, parts, write, write_error, deadline_seconds=deadline_seconds)


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
            return JSONResponse(completions.completion(body, await _whole(question, parts, deadline_seconds)))

        def write_error(error: Exception) -> bytes:
            return sse.encode(_fault(error)[1])

        writer = completions.CompletionWriter(body)
        return await _streamed(question, parts, writer.write, write_error, deadline_seconds=deadline_seconds)


def _add_error_pages(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return _error_response(_validation_fault(error))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        body = schemas.error_payload(str(error.detail), code=f"http_{error.status_code}", kind="invalid_request_error")
        return JSONResponse(body, status_code=error.status_code, headers=error.headers)

    async def fault(request: Request, error: Exception) -> JSONResponse:
        return _error_response(error)

    for kind in (HeadraceError, TimeoutError, Exception):
        app.add_exception_handler(kind, fault)


async def _whole(question: Question, parts: ChatParts, deadline_seconds: float) -> list[AnswerEvent]:
    async with asyncio.timeout(deadline_seconds):
        return [event async for event in answer(question, parts.answering)]


async def _streamed(
    question: Question,
    parts: ChatParts,
    write: Callable[[AnswerEvent], bytes],
    write_error: Callable[[Exception], bytes],
    *,
    deadline_seconds: float,
) -> StreamingResponse:
    events = answer(question, parts.answering)
    # A fault before the first event can still have an honest status code.
    first = await anext(events)
    body = sse.stream(_chain(first, events), write=write, write_error=write_error, deadline_seconds=deadline_seconds)
    cached = getattr(first, "stage", "") == "cached"
    headers = {**SSE_HEADERS, "X-Cache": "hit" if cached else "miss"}
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


def _validation_fault(error: RequestValidationError) -> InvalidInputError:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return InvalidInputError("The request's body is not valid JSON.")
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    return InvalidInputError(f"{where or 'The body'}: {first['msg']}.", param=where or None)


def _fault(error: Exception) -> tuple[int, dict[str, Any]]:
    """A fault's status code and body. What we did not foresee is logged, and says nothing of itself to the asker."""
    match error:
        case InvalidInputError():
            return 400, schemas.error_payload(
                str(error), code=error.code, kind="invalid_request_error", param=error.param
            )
        case UnavailableError():
            return 503, schemas.error_payload(str(error), code=error.code, kind="server_error")
        case ConfigurationError():
            logger.error("configuration error: %s", error)
            return 500, schemas.error_payload(str(error), code=error.code, kind="server_error")
        case TimeoutError():
            message = "The answer took longer than this deployment allows. Ask again, or ask for less."
            return 504, schemas.error_payload(message, code="deadline_exceeded", kind="server_error")
    logger.error("unforeseen fault", exc_info=error)
    message = "Something went wrong on our side. It has been logged; try again."
    return 500, schemas.error_payload(message, code="internal_error", kind="server_error")


def _error_response(error: Exception) -> JSONResponse:
    status, body = _fault(error)
    asked_seconds = getattr(error, "retry_after_seconds", None)
    headers = {"Retry-After": str(max(1, round(asked_seconds or 1)))} if status == 503 else None
    return JSONResponse(body, status_code=status, headers=headers)
