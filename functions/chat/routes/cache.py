"""What askers may know of the answer cache, and what they say of answers."""

from __future__ import annotations

import time
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from functions.chat.dependencies import Admin, ChatDependencies, Dependencies, Reader
from functions.chat.wire import schemas
from functions.chat.wire.bodies import FeedbackBody
from headrace.errors import InvalidInputError, UnavailableError
from headrace.types import FeedbackRecord, InvalidationReason, Principal, Rating, is_for_scope


def add_cache_routes(app: FastAPI) -> None:
    """`GET /cache/stats` and `POST /feedback`."""

    @app.get("/cache/stats")
    async def stats(deps: Dependencies, asker: Admin) -> dict[str, Any]:
        """What the asker's tenant's cache has done and holds."""
        if deps.cache_maintenance is None:
            raise HTTPException(404, "There is no cache here.")
        return schemas.stats_payload(await deps.cache_maintenance.stats(asker.tenant))

    @app.post("/feedback")
    async def feedback(body: FeedbackBody, deps: Dependencies, asker: Reader) -> dict[str, Any]:
        """An asker says what an answer is worth; one that is wrong leaves the cache, with every question that a judge gave it to."""
        kept = await _rate(body, deps, asker)
        if body.answer_id is None:
            return {"request_id": body.request_id, "kept": kept}
        # Who may not see what an answer was made from has no say in it.
        if not is_for_scope(body.answer_id, asker.scope):
            raise InvalidInputError(
                "There is no such answer for you. Send the `answer_id` of the answer's `done` event.", param="answer_id"
            )
        gone = await deps.answering.cache.invalidate(asker.tenant, [body.answer_id], InvalidationReason.WRONG)
        if gone is None:
            raise UnavailableError(
                "The answer cache does not answer, so that the answer is still in it. Send it again."
            )
        return {"answer_id": body.answer_id, "invalidated": gone > 0, "kept": kept}


async def _rate(body: FeedbackBody, deps: ChatDependencies, asker: Principal) -> bool:
    """Have the ledger keep a rating; whether there is one to keep it."""
    if body.request_id is None or deps.ledger_queue is None:
        return False
    rating = body.rating or Rating.DOWN
    said = FeedbackRecord(body.request_id, asker.tenant, asker.owner, time.time(), rating, body.comment)
    await deps.ledger_queue.put(said)
    return True
