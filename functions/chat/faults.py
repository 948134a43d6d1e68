"""Faults as answers: a status code and a body in one form, and as the last event of a stream."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from typing import Any

from fastapi.responses import JSONResponse

from functions.chat.wire import schemas, sse
from headrace.errors import (
    AbandonedError,
    ConfigurationError,
    ConflictError,
    DeadlineExceededError,
    ForbiddenError,
    InvalidInputError,
    LimitExceededError,
    RefusedError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
    UnknownModelError,
    UnknownRunError,
)

# Names of types in a fault's place: `constrained-str`, `list[…]`, `str`.
_FORM = re.compile(r"^(?:str|int|float|bool|list|dict|literal|constrained-\w+)$|\[")
logger = logging.getLogger("chat")


def validation_fault(errors: Sequence[Any]) -> InvalidInputError:
    """A request that pydantic refused with these errors, in a sentence."""
    # Of a parameter that may have several forms, the fault of the one that came nearest.
    first = max(errors, key=lambda each: (each["loc"][:2] == errors[0]["loc"][:2], len(each["loc"])))
    if first["type"] == "json_invalid":
        return InvalidInputError("The request's body is not valid JSON.")
    # What pydantic calls the forms is nobody's business.
    where = ".".join(str(part) for part in first["loc"] if part != "body" and not _FORM.search(str(part)))
    return InvalidInputError(f"{where or 'The body'}: {first['msg']}.", param=where or None)


def fault_of(error: Exception) -> tuple[int, dict[str, Any]]:
    """A fault's status code and body. What we did not foresee is logged, and says nothing of itself to the asker."""
    match error:
        case InvalidInputError():
            status = {TooLargeError: 413, ConflictError: 409, UnknownModelError: 404, UnknownRunError: 404}.get(
                type(error), 400
            )
            return status, schemas.error_payload(
                str(error), code=error.code, kind="invalid_request_error", param=error.param
            )
        case AbandonedError():
            # Nobody reads it; the status is the one that proxies log.
            return 499, schemas.error_payload(str(error), code=error.code, kind="invalid_request_error")
        case RefusedError():
            logger.warning("refused: %s", error)
            return 400, schemas.error_payload(str(error), code=error.code, kind="invalid_request_error")
        case UnauthenticatedError():
            return 401, schemas.error_payload(str(error), code=error.code, kind="authentication_error")
        case ForbiddenError():
            return 403, schemas.error_payload(str(error), code=error.code, kind="permission_error")
        case LimitExceededError():
            return 429, schemas.error_payload(str(error), code=error.code, kind="rate_limit_error")
        case UnavailableError():
            return 503, schemas.error_payload(str(error), code=error.code, kind="server_error")
        case ConfigurationError():
            logger.error("configuration error: %s", error)
            return 500, schemas.error_payload(str(error), code=error.code, kind="server_error")
        case TimeoutError():
            late = DeadlineExceededError()
            return 504, schemas.error_payload(str(late), code=late.code, kind="server_error")
    logger.error("unforeseen fault", exc_info=error)
    message = "Something went wrong on our side. It has been logged; try again."
    return 500, schemas.error_payload(message, code="internal_error", kind="server_error")


def error_response(error: Exception) -> JSONResponse:
    """A fault as an error page."""
    status, body = fault_of(error)
    headers: dict[str, str] = dict(error.headers) if isinstance(error, LimitExceededError) else {}
    if status in {429, 503}:
        headers["Retry-After"] = str(max(1, math.ceil(getattr(error, "retry_after_seconds", None) or 1)))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body, status_code=status, headers=headers)


def write_fault(error: Exception) -> bytes:
    """A fault as an SSE event."""
    return sse.encode(fault_of(error)[1]["error"], event="error")
