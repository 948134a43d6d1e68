"""What admins see of their tenant's answers: sums by day, single records, and what was asked in vain."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Path, Query
from starlette.exceptions import HTTPException

from functions.chat.dependencies import Admin, ChatDependencies, Dependencies
from functions.chat.wire import ledger as wire
from functions.chat.wire.evaluations import EvaluationBody, evaluation_line, evaluation_payload
from headrace.ledger.writing import write_waiting
from headrace.protocols import Ledger, RecordFilter

DAY_SECONDS = 86_400.0
MOST_DAYS = 400
# An admin waits for no more; maintenance writes the rest.
MOST_WRITTEN = 2_000
Days = Annotated[int, Query(ge=1, le=MOST_DAYS)]
Limit = Annotated[int, Query(ge=1, le=200)]
Kind = Literal["all", "refused", "failed", "slow", "down", "up"]


def add_admin_routes(app: FastAPI) -> None:
    """`GET /admin/usage`, `/admin/unanswered`, `/admin/answers` and `/admin/answers/{id}`; evaluations."""

    @app.get("/admin/usage")
    async def usage(deps: Dependencies, asker: Admin, days: Days = 30) -> dict[str, Any]:
        """Answers, hits, refusals, faults, tokens and dollars by day, the newest first, and how long the first token took."""
        ledger, since = await _ledger(deps), _since(days)
        found = await ledger.usage(since, tenant=asker.tenant)
        first = {
            name: await ledger.first_token_seconds(asker.tenant, since, share=share)
            for name, share in (("p50", 0.5), ("p95", 0.95))
        }
        return {"tenant": asker.tenant, "days": [wire.usage_of(day) for day in found], "first_token_seconds": first}

    @app.get("/admin/unanswered")
    async def unanswered(deps: Dependencies, asker: Admin, days: Days = 30, limit: Limit = 50) -> dict[str, Any]:
        """What was asked and not answered, the most frequent first: documents that are missing."""
        found = await (await _ledger(deps)).unanswered(asker.tenant, _since(days), limit=limit)
        return {"questions": [wire.unanswered_of(each) for each in found]}

    @app.get("/admin/answers")
    async def answers(  # noqa: PLR0917 - FastAPI passes by name
        deps: Dependencies,
        asker: Admin,
        kind: Kind = "all",
        days: Days = 30,
        limit: Limit = 50,
        slow_seconds: Annotated[float, Query(ge=0.0, le=600.0)] = 5.0,
        after: Annotated[str, Query(max_length=100)] = "",
    ) -> dict[str, Any]:
        """Answers of one kind, the newest first, a page at a time."""
        wanted = RecordFilter(asker.tenant, _since(days), kind, slow_seconds, after, limit)
        page = await (await _ledger(deps)).records(wanted)
        return {"answers": [wire.line_of(each) for each in page.records], "next": page.next or None}

    @app.get("/admin/answers/{record_id}")
    async def one(
        record_id: Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")], deps: Dependencies, asker: Admin
    ) -> dict[str, Any]:
        """All that is known of one answer. Its id is the `X-Request-Id` of the response that gave it."""
        kept = await (await _ledger(deps)).record(asker.tenant, record_id)
        if kept is None:
            raise HTTPException(
                404,
                "There is no such record of your tenant. An answer's record has its response's X-Request-Id.",
            )
        return wire.record_of(kept)

    _add_evaluations(app)


def _add_evaluations(app: FastAPI) -> None:
    """`GET` and `POST /admin/evaluations`, `GET /admin/evaluations/{id}`."""

    @app.post("/admin/evaluations", status_code=201)
    async def keep(body: EvaluationBody, deps: Dependencies, asker: Admin) -> dict[str, Any]:
        """Keep how good the answers to a set of questions were, with what they cost by their records."""
        ledger = await _ledger(deps)
        evaluation = body.evaluation(asker, await ledger.dollars(asker.tenant, body.records))
        await ledger.keep_evaluation(evaluation)
        return evaluation_line(evaluation)

    @app.get("/admin/evaluations")
    async def evaluations(deps: Dependencies, asker: Admin, limit: Limit = 20) -> dict[str, Any]:
        """The last evaluations, newest first, without their questions."""
        found = await (await _ledger(deps)).evaluations(asker.tenant, limit=limit)
        return {"evaluations": [evaluation_line(each) for each in found]}

    @app.get("/admin/evaluations/{evaluation_id}")
    async def evaluation(
        evaluation_id: Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")], deps: Dependencies, asker: Admin
    ) -> dict[str, Any]:
        """One evaluation, with each question's scores and the record of its answer."""
        found = await (await _ledger(deps)).evaluation(asker.tenant, evaluation_id)
        if found is None:
            raise HTTPException(404, "There is no such evaluation of your tenant. GET /admin/evaluations lists them.")
        return evaluation_payload(found)


def _since(days: int) -> float:
    return time.time() - days * DAY_SECONDS


async def _ledger(deps: ChatDependencies) -> Ledger:
    """The ledger, with what waited for it: an admin sees the answers of just now, and not of the last maintenance."""
    if deps.ledger is None or deps.ledger_queue is None:
        raise HTTPException(404, "No ledger is kept here. Set LEDGER_URL (docs/ledger.md).")
    ledger = await deps.ledger.get()
    await write_waiting(deps.ledger_queue, ledger, most=MOST_WRITTEN)
    return ledger
