"""What askers may know of the cache, and say about its answers."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from functions.chat import schemas
from functions.chat.parts import Asker, Parts
from headrace.answering.answer import Question, partition_of
from headrace.errors import InvalidInputError, UnavailableError
from headrace.filters import parse_filter
from headrace.types import Retired


def add_cache_routes(app: FastAPI) -> None:
    """`GET /cache/stats` and `POST /feedback`."""

    @app.get("/cache/stats")
    async def stats(parts: Parts, asker: Asker) -> dict[str, Any]:
        """What the asker's tenant's cache has done and holds."""
        if parts.upkeep is None:
            raise HTTPException(404, "There is no cache here.")
        return schemas.stats_payload(await parts.upkeep.stats(asker.tenant))

    @app.post("/feedback")
    async def feedback(body: schemas.FeedbackBody, parts: Parts, asker: Asker) -> dict[str, Any]:
        """Somebody says that an answer is wrong: it is not given to anybody again."""
        parse_filter(body.filter)
        partition = partition_of(Question("", asker, filter=body.filter), parts.answering)
        # Who may not see what an answer was made from has no say in it.
        if body.answer_id.partition("-")[0] != partition.name:
            raise InvalidInputError(
                "There is no such answer for you. Send the `answer_id` of the answer's `done` event, and the filter of "
                "the question.",
                param="answer_id",
            )
        gone = await parts.answering.cache.retire(asker.tenant, [body.answer_id], Retired.WRONG)
        if gone is None:
            raise UnavailableError(
                "The answer cache does not answer, so that the answer is still in it. Send it again."
            )
        return {"answer_id": body.answer_id, "retired": gone > 0}
