"""The ledger's upkeep: what waits is written into the database, what is too old is deleted; and what an owner does by hand."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger

from headrace.errors import InvalidInputError, LedgerUnavailableError
from headrace.ledger.writing import BATCH, write_waiting
from headrace.protocols import Ledger, LedgerQueue

DAY_SECONDS = 86_400.0
USAGE_DAYS = 30

logger = Logger(service="cache_maintenance")


@dataclass(frozen=True, slots=True)
class LedgerDependencies:
    """What it works with. `open_ledger` raises ConfigurationError where no database is kept; records older than `days` go."""

    queue: LedgerQueue
    open_ledger: Callable[[], AbstractAsyncContextManager[Ledger]]
    days: int
    clock: Callable[[], float] = time.monotonic


async def keep_ledger(deps: LedgerDependencies, *, deadline: float) -> dict[str, Any]:
    """Write and delete; `{"written", "deleted", "waiting"}`. What can't be written now waits, and `fault` says why."""
    try:
        async with deps.open_ledger() as ledger:
            written = await _write(deps, ledger, deadline)
            deleted = await ledger.delete_before(time.time() - deps.days * DAY_SECONDS)
    except LedgerUnavailableError as error:
        logger.warning("the ledger's records wait", reason=str(error))
        return {"written": 0, "deleted": 0, "waiting": await deps.queue.waiting(), "fault": str(error)}
    return {"written": written, "deleted": deleted, "waiting": await deps.queue.waiting()}


async def _write(deps: LedgerDependencies, ledger: Ledger, deadline: float) -> int:
    """A batch at least, which also makes the tables."""
    written = 0
    while more := await write_waiting(deps.queue, ledger, most=BATCH):
        written += more
        if deps.clock() >= deadline:
            break
    return written


async def use_ledger(event: dict[str, Any], deps: LedgerDependencies, *, deadline: float) -> dict[str, Any]:
    """Do what an owner asks for: `write` what waits, tell the `usage` by tenant and day, `forget` a principal.

    Raises InvalidInputError.
    """
    match event["action"]:
        case "write":
            return await keep_ledger(deps, deadline=deadline)
        case "usage":
            since = time.time() - float(event.get("days", USAGE_DAYS)) * DAY_SECONDS
            async with deps.open_ledger() as ledger:
                days = await ledger.usage(since, tenant=event.get("tenant"))
            return {"usage": [dataclasses.asdict(day) for day in days]}
        case _:
            tenant, principal = str(event.get("tenant", "")), str(event.get("principal", ""))
            if not (tenant and principal):
                raise InvalidInputError("Say whose records: `tenant` and `principal`.", param="principal")
            # What waits is theirs, too.
            await keep_ledger(deps, deadline=deadline)
            async with deps.open_ledger() as ledger:
                return {"forgotten": await ledger.forget(tenant, principal)}


LEDGER_ACTIONS: dict[str, tuple[str, ...]] = {"write": (), "usage": ("days",), "forget": ("principal",)}
