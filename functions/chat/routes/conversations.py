"""The asker's conversations: listed, read, renamed, deleted. Nobody else's are there."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Path, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from functions.chat.dependencies import Dependencies, Reader
from functions.chat.wire import schemas
from functions.chat.wire.bodies import ConversationBody
from headrace.types import MAX_TURNS

ConversationId = Annotated[str, Path(min_length=1, max_length=200)]


def add_conversation_routes(app: FastAPI) -> None:
    """`GET /conversations`, and `GET`, `PATCH` and `DELETE /conversations/{id}`."""

    @app.get("/conversations")
    async def conversations(deps: Dependencies, asker: Reader) -> dict[str, Any]:
        """The asker's conversations, the newest first."""
        found = await deps.answering.conversations.all(asker)
        return {"conversations": [schemas.conversation_payload(each) for each in found]}

    @app.get("/conversations/{conversation_id}")
    async def conversation(
        conversation_id: ConversationId, request: Request, deps: Dependencies, asker: Reader
    ) -> Response:
        """Its turns, oldest first; as Markdown with `Accept: text/markdown`."""
        turns = await deps.answering.conversations.history(asker, conversation_id, last=MAX_TURNS)
        if not turns:
            raise _nowhere()
        if "text/markdown" in request.headers.get("accept", ""):
            return PlainTextResponse(schemas.transcript(turns), media_type="text/markdown")
        return JSONResponse(
            {"id": conversation_id, "turns": [{"role": turn.role, "content": turn.content} for turn in turns]}
        )

    @app.patch("/conversations/{conversation_id}")
    async def rename(
        conversation_id: ConversationId, body: ConversationBody, deps: Dependencies, asker: Reader
    ) -> dict[str, Any]:
        """Give it another title."""
        if not await deps.answering.conversations.rename(asker, conversation_id, body.title):
            raise _nowhere()
        return {"id": conversation_id, "title": body.title}

    @app.delete("/conversations/{conversation_id}", status_code=204)
    async def delete(conversation_id: ConversationId, deps: Dependencies, asker: Reader) -> Response:
        """Forget it."""
        if not await deps.answering.conversations.delete(asker, conversation_id):
            raise _nowhere()
        return Response(status_code=204)


def _nowhere() -> HTTPException:
    return HTTPException(404, "There is no such conversation. GET /conversations lists yours.")
