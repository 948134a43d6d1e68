"""`GET /metrics`: counters of all processes on this machine, as Prometheus reads them."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from functions.chat.dependencies import Admin, Dependencies


def add_metrics_routes(app: FastAPI) -> None:
    """One route, for admins."""

    @app.get("/metrics")
    async def metrics(deps: Dependencies, asker: Admin) -> Response:  # noqa: ARG001 - an admin asks
        """Counters in Prometheus' text format; they are all tenants' together."""
        if deps.exposition is None:
            raise HTTPException(404, "No counters are kept here. Set METRICS=prometheus (docs/metrics.md).")
        return Response(await asyncio.to_thread(deps.exposition), media_type="text/plain; version=0.0.4")
