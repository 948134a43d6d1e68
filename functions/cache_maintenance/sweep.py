"""Looks after the answer cache: sweeps, quotas, indexes, reports, and answers that are worth making before they are asked.

A run ends in time and says where it stood: the next one goes on from there.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from typing import Any

from headrace.answering.answer import AnswerParts, Question, answer
from headrace.errors import HeadraceError, InvalidInputError
from headrace.protocols import CacheUpkeep, DocumentRegistry
from headrace.types import CacheStats, Principal, UsageEvent, Wanted

Report = Callable[[str, CacheStats, float], None]


@dataclass(frozen=True, slots=True)
class CacheParts:
    """What it takes. `open_answering` opens what making answers takes, for warming, only when there is something to warm.

    A run warms `warm_answers` answers at most. `token_price` is what a token saved is worth, in dollars; `report` hears
    of each tenant's figures and money. `clock` is in seconds.
    """

    upkeep: CacheUpkeep
    registry: DocumentRegistry
    embedding_model: str
    open_answering: Callable[[], AbstractAsyncContextManager[AnswerParts]]
    warm_answers: int = 20
    token_price: float = 0.0
    report: Report | None = None
    clock: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class Run:
    """How far a run has come: what is left to look at when the time is up, and what it found."""

    deadline: float
    found: Counter[str] = field(default_factory=Counter)
    tenant: str = ""
    cursor: int = 0
    is_done: bool = False

    @property
    def place(self) -> dict[str, Any] | None:
        """Where the next run is to go on; None at the end."""
        return None if self.is_done else {"tenant": self.tenant, "cursor": self.cursor}


async def sweep(parts: CacheParts, run: Run, *, only: str = "", dry_run: bool = False) -> None:
    """Look at every entry of every tenant from the run's place on, or of one tenant `only`; end in time."""
    tenants = [only] if only else await parts.registry.tenants()
    for tenant in tenants:
        if tenant < run.tenant:
            continue
        if tenant != run.tenant:
            run.tenant, run.cursor = tenant, 0
        while True:
            if parts.clock() >= run.deadline:
                return
            run.cursor, found = await parts.upkeep.sweep(
                tenant, run.cursor, embedding_model=parts.embedding_model, dry_run=dry_run
            )
            run.found.update(found)
            if run.cursor == 0:
                break
        run.found.update(await parts.upkeep.settle(tenant, dry_run=dry_run))
    run.is_done = True


async def report(parts: CacheParts, *, only: str = "") -> dict[str, Any]:
    """Each tenant's figures since the last report, told to the metrics, with the money that hits saved."""
    told = {}
    for tenant in [only] if only else await parts.registry.tenants():
        since = await parts.upkeep.unreported(tenant)
        dollars = since.tokens_saved * parts.token_price
        if parts.report is not None:
            parts.report(tenant, since, dollars)
        told[tenant] = {
            "lookups": since.lookups,
            "hit_rate": round(since.hit_rate, 4),
            "tokens_saved": since.tokens_saved,
            "dollars_saved": round(dollars, 4),
            "entries": since.entries,
            "bytes": since.bytes,
            "retired": {name: count for name, count in since.retired.items() if count},
        }
    return told


async def warm(
    parts: CacheParts, *, deadline: float, only: str = "", budget: int | None = None, dry_run: bool = False
) -> dict[str, Any]:
    """Make the answers anew that were worth most and are gone, within the budget; a dry run says which."""
    left = parts.warm_answers if budget is None else budget
    wanted: list[tuple[str, Wanted]] = []
    for tenant in [only] if only else await parts.registry.tenants():
        wanted += [(tenant, each) for each in await parts.upkeep.wanted(tenant, left)]
    wanted = sorted(wanted, key=lambda pair: -pair[1].worth)[:left]
    if dry_run or not wanted:
        return {"would_warm": [each.question for _, each in wanted]} if dry_run else {"warmed": 0, "tokens": 0}
    warmed = tokens = 0
    async with parts.open_answering() as answering:
        for tenant, each in wanted:
            left_seconds = deadline - parts.clock()
            if left_seconds <= 0:
                break
            try:
                async with asyncio.timeout(left_seconds):
                    tokens += await _ask(tenant, each, answering)
            except TimeoutError:
                break
            except HeadraceError:
                # What can't be answered now is asked again by whoever wants to know.
                pass
            await parts.upkeep.unwant(tenant, each)
            warmed += 1
    return {"warmed": warmed, "tokens": tokens}


async def _ask(tenant: str, wanted: Wanted, answering: AnswerParts) -> int:
    """Ask as those asked who are entitled to the answer; gives the tokens that it took."""
    asked = Question(wanted.question, Principal(tenant, wanted.groups), history=(), filter=wanted.filter)
    tokens = 0
    async with aclosing(answer(asked, answering)) as events:
        async for event in events:
            if isinstance(event, UsageEvent):
                tokens = event.usage.total_tokens
    return tokens


async def act(event: dict[str, Any], parts: CacheParts, *, deadline: float) -> dict[str, Any]:
    """Do what somebody asked for by hand. Raises InvalidInputError for what can't be understood.

    `{"action": "sweep" | "stats" | "invalidate" | "warm" | "flush", "tenant": …, "dry_run": true}`; `invalidate` also
    takes `document`, `answer_id` and `question`, `warm` a `budget`, `sweep` the `place` that the last one left off at.
    """
    action, tenant, dry_run = event.get("action"), str(event.get("tenant", "")), bool(event.get("dry_run", False))
    known = ACTIONS.get(str(action))
    if known is None:
        raise InvalidInputError(f"The action {action!r} is not known; it can be {', '.join(ACTIONS)}.", param="action")
    if unknown := set(event) - {"action", "tenant", "dry_run", *known}:
        raise InvalidInputError(f"{action!r} does not take {', '.join(sorted(unknown))}.", param=min(unknown))
    if action in {"invalidate", "flush"} and not tenant:
        raise InvalidInputError(f"{action!r} needs a `tenant`.", param="tenant")
    match action:
        case "sweep":
            place = event.get("place") or {}
            run = Run(deadline, tenant=str(place.get("tenant", "")), cursor=int(place.get("cursor", 0)))
            await sweep(parts, run, only=tenant, dry_run=dry_run)
            return {"found": dict(run.found), "place": run.place}
        case "stats":
            names = [tenant] if tenant else await parts.registry.tenants()
            return {name: _figures(await parts.upkeep.stats(name)) for name in names}
        case "invalidate":
            given = {name: str(event[name]) for name in ("document", "answer_id", "question") if event.get(name)}
            if not given:
                raise InvalidInputError(
                    "Say what: `document`, `answer_id` or `question`; `flush` takes out everything."
                )
            return {"invalidated": await parts.upkeep.invalidate(tenant, **given, dry_run=dry_run)}
        case "warm":
            budget = event.get("budget")
            return await warm(
                parts, deadline=deadline, only=tenant, budget=None if budget is None else int(budget), dry_run=dry_run
            )
        case _:
            return {"flushed": await parts.upkeep.flush(tenant, dry_run=dry_run)}


def _figures(stats: CacheStats) -> dict[str, Any]:
    return {
        "lookups": stats.lookups,
        "exact_hits": stats.exact_hits,
        "semantic_hits": stats.semantic_hits,
        "hit_rate": round(stats.hit_rate, 4),
        "tokens_saved": stats.tokens_saved,
        "entries": stats.entries,
        "bytes": stats.bytes,
        "wanted": stats.wanted,
        "retired": dict(stats.retired),
    }


ACTIONS: dict[str, tuple[str, ...]] = {
    "sweep": ("place",),
    "stats": (),
    "invalidate": ("document", "answer_id", "question"),
    "warm": ("budget",),
    "flush": (),
}
