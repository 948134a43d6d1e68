"""The application's description in OpenAPI, as it is: who may call what, and every answer that a route can give.

FastAPI's own says that what can't be understood is a 422; here it is a 400, in the form that all errors have.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

ERROR = "#/components/schemas/Error"
ERRORS = {
    400: "The request can't be understood, or not be served as it is.",
    401: "Nobody knows who asks.",
    403: "Who asks may not do that.",
    404: "There is no such thing, or not for who asks.",
    405: "The route has no such method.",
    409: "It would overwrite what is there.",
    413: "The body is longer than anything that is read here.",
    429: "Who asks has used what they may; `Retry-After` says until when.",
    500: "Something went wrong here.",
    503: "A part does not answer, or there is too much to do; `Retry-After` says when to try again.",
    504: "It took longer than this deployment allows.",
}
ERROR_SCHEMA: dict[str, Any] = {
    "title": "Error",
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}
SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of the identity provider."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
OPEN_ROUTES = frozenset({"/healthz"})
# What answers in events, always or when it is asked to.
EVENTS = frozenset(
    {"/chat", "/runs/{run_id}", "/documents", "/documents/{name}", "/v1/chat/completions", "/v1/responses"}
)
EVENT_STREAM = {
    "text/event-stream": {
        "schema": {
            "type": "object",
            "description": "Each event; `data` is JSON.",
            "required": ["data"],
            "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
        }
    }
}


def describe(app: FastAPI) -> dict[str, Any]:
    """The description, made once."""
    if app.openapi_schema is None:
        description = get_openapi(title=app.title, version=app.version, routes=app.routes)
        components = description.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        schemas["Error"] = ERROR_SCHEMA
        components["securitySchemes"] = SECURITY_SCHEMES
        for path, methods in description["paths"].items():
            for operation in methods.values():
                _complete(operation, is_open=path in OPEN_ROUTES)
                if path in EVENTS and "200" in operation["responses"]:
                    operation["responses"]["200"]["content"] |= EVENT_STREAM
        app.openapi_schema = description
    return app.openapi_schema


def _complete(operation: dict[str, Any], *, is_open: bool) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    content = {"application/json": {"schema": {"$ref": ERROR}}}
    responses |= {
        str(status): {"description": meaning, "content": content}
        for status, meaning in ERRORS.items()
        if str(status) not in responses and (not is_open or status in {405, 500})
    }
    operation["security"] = [] if is_open else [{name: []} for name in SECURITY_SCHEMES]
