"""The page, and whether the application is alive and ready."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from functions.chat.dependencies import Dependencies
from headrace.errors import ConfigurationError, HeadraceError
from headrace.protocols import Checkable

CHECK_TIMEOUT_SECONDS = 5.0
PAGE = Path(__file__).parent.with_name("page")
# By path: the file and its type. Read as the module is imported: nothing reads files while the event loop runs.
PAGE_FILES = {
    path: (PAGE.joinpath(name).read_text(encoding="utf-8"), media_type)
    for path, name, media_type in (
        ("/", "index.html", "text/html"),
        ("/page.css", "page.css", "text/css"),
        ("/page.js", "page.js", "text/javascript"),
    )
}
# The page runs its own script and nothing else, and talks to nobody but this server.
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "Cache-Control": "no-cache",
}


def add_health_routes(app: FastAPI) -> None:
    """The page, `GET /healthz` and `GET /readyz`."""

    async def page(request: Request) -> Response:
        content, media_type = PAGE_FILES[request.scope["path"].removeprefix(request.scope.get("root_path", ""))]
        return Response(content, media_type=media_type, headers=PAGE_HEADERS)

    for path in PAGE_FILES:
        app.add_api_route(path, page, include_in_schema=False)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Alive; touches nothing."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz(deps: Dependencies) -> JSONResponse:
        """Which part is not ready, and why."""
        verdicts = await asyncio.gather(*(_verdict(part) for part in deps.answering.checks.values()))
        ready = all(verdict["ready"] for verdict in verdicts)
        body = {"ready": ready, "parts": dict(zip(deps.answering.checks, verdicts, strict=True))}
        return JSONResponse(body, status_code=200 if ready else 503)


async def _verdict(part: Checkable) -> dict[str, Any]:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            await part.check()
    except TimeoutError:
        return {"ready": False, "reason": f"It did not answer within {CHECK_TIMEOUT_SECONDS:g} seconds."}
    except HeadraceError as error:
        # What a person must set right does not come right by waiting.
        return {"ready": False, "reason": str(error), "permanent": isinstance(error, ConfigurationError)}
    return {"ready": True}
