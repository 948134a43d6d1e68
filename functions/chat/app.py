"""The chat application: its routes, its error pages, and the dependencies that are open while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException

from functions.chat.dependencies import OpenDependencies
from functions.chat.door import Door
from functions.chat.faults import error_response, validation_fault
from functions.chat.routes.admin import add_admin_routes
from functions.chat.routes.ask import add_ask_routes
from functions.chat.routes.cache import add_cache_routes
from functions.chat.routes.conversations import add_conversation_routes
from functions.chat.routes.documents import add_document_routes
from functions.chat.routes.health import add_health_routes
from functions.chat.routes.mcp import add_mcp_routes
from functions.chat.routes.metrics import add_metrics_routes
from functions.chat.routes.openai import add_openai_routes
from functions.chat.routes.page import add_page_routes
from functions.chat.routes.sockets import add_socket_routes
from functions.chat.wire import schemas
from functions.chat.wire.openapi import describe
from headrace.errors import HeadraceError

# Spans are the application's own (docs/traces.md); FastAPI's cost each request, and its logs would have what is asked in them.
NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "operation_spans": False}


def create_app(open_dependencies: OpenDependencies) -> FastAPI:
    """The application; `open_dependencies` is entered once at start-up and left at shutdown."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_dependencies() as deps, deps.load.watched():
            app.state.dependencies = deps
            yield

    app = FastAPI(title="Headrace", lifespan=lifespan, docs_url=None, redoc_url=None, telemetry=NO_TELEMETRY)
    app.add_middleware(Door)
    _add_error_pages(app)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    # Routes are tried in this order: what is asked most comes first.
    for add_routes in (
        add_ask_routes,
        add_openai_routes,
        add_document_routes,
        add_page_routes,
        add_health_routes,
        add_metrics_routes,
        add_cache_routes,
        add_admin_routes,
        add_conversation_routes,
        add_socket_routes,
        add_mcp_routes,
    ):
        add_routes(app)
    return app


def _add_error_pages(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return error_response(validation_fault(error.errors()))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        body = schemas.error_payload(str(error.detail), code=f"http_{error.status_code}", kind="invalid_request_error")
        return JSONResponse(body, status_code=error.status_code, headers=error.headers)

    async def fault(request: Request, error: Exception) -> JSONResponse:
        return error_response(error)

    for kind in (HeadraceError, TimeoutError, Exception):
        app.add_exception_handler(kind, fault)
