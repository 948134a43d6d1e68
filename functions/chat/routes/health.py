"""Whether the application is alive and ready."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from functions.chat.dependencies import Dependencies
from headrace.errors import ConfigurationError, HeadraceError
from headrace.protocols import Checkable

CHECK_TIMEOUT_SECONDS = 5.0


def add_health_routes(app: FastAPI) -> None:
    """`GET /healthz` and `GET /readyz`."""

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
