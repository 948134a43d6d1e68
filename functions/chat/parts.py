"""What the routes work with: the parts that the lifespan opened, who asks, how long it may take, and faults as answers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from functions.chat import schemas, sse
from headrace.answering.answer import AnswerParts
from headrace.errors import ConfigurationError, InvalidInputError, UnavailableError
from headrace.protocols import CacheUpkeep, Uploads
from headrace.types import Principal

# Time to say, in the stream, that the deadline has come.
DEADLINE_MARGIN_SECONDS = 2.0
SSE_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}

logger = logging.getLogger("chat")


@dataclass(frozen=True, slots=True)
class ChatParts:
    """What the routes work with. `report` hears of each answer: what the cache had, and the tokens that it saved."""

    answering: AnswerParts
    deadline_seconds: float
    upkeep: CacheUpkeep | None = None
    uploads: Uploads | None = None
    max_document_bytes: int = 0
    report: Callable[[str, int], None] | None = None


OpenParts = Callable[[], AbstractAsyncContextManager[ChatParts]]


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


def validation_fault(error: RequestValidationError) -> InvalidInputError:
    """A request that pydantic refused, in a sentence."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return InvalidInputError("The request's body is not valid JSON.")
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    return InvalidInputError(f"{where or 'The body'}: {first['msg']}.", param=where or None)


def fault_of(error: Exception) -> tuple[int, dict[str, Any]]:
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


def error_response(error: Exception) -> JSONResponse:
    """A fault as an error page."""
    status, body = fault_of(error)
    asked_seconds = getattr(error, "retry_after_seconds", None)
    headers = {"Retry-After": str(max(1, round(asked_seconds or 1)))} if status == 503 else None
    return JSONResponse(body, status_code=status, headers=headers)


def write_fault(error: Exception) -> bytes:
    """A fault as an SSE event."""
    return sse.encode(fault_of(error)[1]["error"], event="error")
