"""The page's files, and what the page asks first: who asks, and what they may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from functions.chat.dependencies import Dependencies, Reader
from functions.chat.wire.paths import PAGE_PATHS
from headrace.types import Role

FOLDER = Path(__file__).parent.with_name("page")
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".txt": "text/plain"}
# By path: the file and its type. Read as the module is imported: nothing reads files while the event loop runs.
FILES = {
    path: ((FOLDER / name).read_text(encoding="utf-8"), MEDIA_TYPES[Path(name).suffix])
    for path, name in PAGE_PATHS.items()
}
# The page runs its own scripts and nothing else, and talks to nobody but this server and the bucket that it uploads to.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'{uploads}; img-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


def add_page_routes(app: FastAPI) -> None:
    """The page at `/`, its files, and `GET /me`."""

    async def page(request: Request, deps: Dependencies) -> Response:
        content, media_type = FILES[request.scope["path"].removeprefix(request.scope.get("root_path", ""))]
        policy = POLICY.format(uploads=f" {deps.upload_origin}" if deps.upload_origin else "")
        return Response(
            content, media_type=media_type, headers={"Content-Security-Policy": policy, "Cache-Control": "no-cache"}
        )

    for path in FILES:
        app.add_api_route(path, page, include_in_schema=False)

    @app.get("/me")
    async def me(deps: Dependencies, asker: Reader) -> dict[str, Any]:
        """Who asks, and what is there for them: models, files, the ledger, where traces are looked at."""
        return {
            "tenant": asker.tenant,
            "principal": asker.owner,
            "role": asker.role,
            "groups": sorted(asker.groups),
            "models": list(deps.answering.models),
            "uploads": deps.files is not None,
            "reranks": deps.answering.retriever.reranks,
            "ledger": deps.ledger is not None,
            "trace_url": deps.trace_url if asker.may(Role.ADMIN) else "",
        }
