"""A Qdrant server for one machine: HTTP around Qdrant's own engine, kept in a folder.

    python -m infra.local.qdrant_server --folder .headrace/qdrant --port 6333

No Qdrant server comes from the package registries, but its engine does, and one process may open it: chat, ingest and
maintenance thus speak the same protocol here as to Qdrant Cloud.
Reference: https://api.qdrant.tech/api-reference
"""

from __future__ import annotations

import argparse
import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from headrace.stores.edge_engine import ApiError, Engine


class QdrantServer:
    """The engine behind HTTP. It is synchronous and one thread serves it, so the loop stays free."""

    def __init__(self, folder: Path) -> None:
        self._engine = Engine(folder)
        self._executor = ThreadPoolExecutor(1, "qdrant")

    def app(self) -> Starlette:
        """The ASGI application."""
        methods = ["GET", "PUT", "POST", "DELETE"]
        return Starlette(routes=[Route("/readyz", _ready), Route("/{path:path}", self._serve, methods=methods)])

    def close(self) -> None:
        """Write everything down and let the engine go."""
        self._executor.submit(self._engine.close).result()
        self._executor.shutdown()

    async def _serve(self, request: Request) -> Response:
        started = time.perf_counter()
        answer: dict[str, Any]
        raw = await request.body()
        try:
            body = orjson.loads(raw) if raw else {}
            call = partial(self._engine.answer, request.method, request.url.path, body)
            result = await asyncio.get_running_loop().run_in_executor(self._executor, call)
            answer, status = {"result": result, "status": "ok"}, 200
        except ApiError as error:
            answer, status = {"status": {"error": str(error)}}, error.status
        except ValueError as error:
            answer, status = {"status": {"error": f"Format error in JSON body: {error}"}}, 400
        content = orjson.dumps({**answer, "time": time.perf_counter() - started})
        return Response(content, status_code=status, media_type="application/json")


async def _ready(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


def main() -> None:
    """Serve until told to stop."""
    import uvicorn

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where collections are kept")
    parser.add_argument("--port", type=int, default=6333, help="port on 127.0.0.1 (default 6333)")
    args = parser.parse_args()
    server = QdrantServer(args.folder)
    try:
        uvicorn.run(server.app(), host="127.0.0.1", port=args.port, log_level="warning")
    finally:
        server.close()


if __name__ == "__main__":
    main()
