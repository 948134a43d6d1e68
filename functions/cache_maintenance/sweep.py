"""Maintenance of the answer cache: sweeps, quotas, indexes, reports, and answers that are made before they are asked for.

A pass ends in time and says where it stopped: the next one goes on from there.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from typing import Any

from headrace.answering.answer import answer
from headrace.answering.dependencies import AnswerDependencies
from headrace.errors import HeadraceError, InvalidInputError
from headrace.protocols import CacheMaintenance, DocumentRegistry
from headrace.types import (
    AnswerOptions,
    CacheStats,
    DoneEvent,
    Principal,
    Question,
    StatusEvent,
    UsageEvent,
    WarmCandidate,
)

Report = Callable[[str, CacheStats, float], None]


@dataclass(frozen=True, slots=True)
class CacheDependencies:
    """What it works with. `open_answering` is entered only when there is an answer to make.

    A pass makes `warm_answers` answers at most. `token_price` is what a token costs, in dollars; `report` is called with
    each tenant's figures and the money that hits saved. `clock` is in seconds.
    """

    maintenance: CacheMaintenance
    registry: DocumentRegistry
    embedding_model: str
    open_answering: Callable[[], AbstractAsyncContextManager[AnswerDependencies]]
    warm_answers: int = 20
    token_price: float = 0.0
    report: Report | None = None
    clock: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class Pass:
    """How far a sweep of all tenants has come, and what it found."""

    deadline: float
    found: Counter[str] = field(default_factory=Counter)
    tenant: str = ""
    cursor: int = 0
    is_done: bool = False

    @classmethod
    def resumed(cls, checkpoint: Mapping[str, Any], *, deadline: float) -> Pass:
        """A pass that goes on from a checkpoint; an empty one is the beginning."""
        return cls(deadline, tenant=str(checkpoint.get("tenant", "")), cursor=int(checkpoint.get("cursor", 0)))

    @property
    def checkpoint(self) -> dict[str, Any] | None:
        """Where the next pass is to go on; None at the end."""
        return None if self.is_done else {"tenant": self.tenant, "cursor": self.cursor}


async def sweep(deps: CacheDependencies, sweeping: Pass, *, only: str = "", dry_run: bool = False) -> None:
    """Look at every entry of every tenant from the checkpoint on, or of one tenant `only`; end in time."""
    tenants = [only] if only else await deps.registry.tenants()
    for tenant in tenants:
        if tenant < sweeping.tenant:
            continue
        if tenant != sweeping.tenant:
            sweeping.tenant, sweeping.cursor = tenant, 0
        while True:
            if deps.clock() >= sweeping.deadline:
                return
            sweeping.cursor, found = await deps.maintenance.sweep(
                tenant, sweeping.cursor, embedding_model=deps.embedding_model, dry_run=dry_run
            )
            sweeping.found.update(found)
            if sweeping.cursor == 0:
                break
        sweeping.found.update(await deps.maintenance.compact(tenant, dry_run=dry_run))
    sweeping.is_done = True


async def report(deps: CacheDependencies, *, only: str = "") -> dict[str, Any]:
    """Each tenant's figures since the last report, told to the metrics, with the money that hits saved."""
    told = {}
    for tenant in [only] if only else await deps.registry.tenants():
        since = await deps.maintenance.unreported(tenant)
        dollars = since.tokens_saved * deps.token_price
        if deps.report is not None:
            deps.report(tenant, since, dollars)
        told[tenant] = {
            "lookups": since.lookups,
            "hit_rate": round(since.hit_rate, 4),
            "tokens_saved": since.tokens_saved,
            "dollars_saved": round(dollars, 4),
            "entries": since.entries,
            "bytes": since.bytes,
            "judge_tokens": since.judge_tokens,
            "invalidated": {name: count for name, count in since.invalidated.items() if count},
        }
    return told


async def warm(
    deps: CacheDependencies, *, deadline: float, only: str = "", budget: int | None = None, dry_run: bool = False
) -> dict[str, Any]:
    """Ask the warm candidates with the highest scores again, within the budget; a dry run says which they are."""
    left = deps.warm_answers if budget is None else budget
    candidates: list[tuple[str, WarmCandidate]] = []
    for tenant in [only] if only else await deps.registry.tenants():
        candidates += [(tenant, each) for each in await deps.maintenance.warm_candidates(tenant, left)]
    candidates = sorted(candidates, key=lambda pair: -pair[1].score)[:left]
    if dry_run or not candidates:
        return {"would_warm": [each.question for _, each in candidates]} if dry_run else {"warmed": 0, "tokens": 0}
    warmed = tokens = 0
    async with deps.open_answering() as answering:
        for tenant, each in candidates:
            left_seconds = deadline - deps.clock()
            if left_seconds <= 0:
                break
            try:
                async with asyncio.timeout(left_seconds):
                    tokens += await _ask(tenant, each, answering)
            except TimeoutError:
                break
            except HeadraceError:
                # Whoever wants to know asks again.
                pass
            await deps.maintenance.remove_warm_candidate(tenant, each)
            warmed += 1
    return {"warmed": warmed, "tokens": tokens}


async def _ask(tenant: str, candidate: WarmCandidate, answering: AnswerDependencies) -> int:
    """Ask as those asked who are entitled to the answer; gives the tokens that it took."""
    asked = Question(
        candidate.question,
        Principal(tenant, candidate.groups),
        history=(),
        filter=candidate.filter,
        options=AnswerOptions.read(candidate.options),
    )
    tokens = judge_tokens = 0
    async with aclosing(answer(asked, answering)) as events:
        async for event in events:
            if isinstance(event, StatusEvent):
                judge_tokens += event.judge_tokens
            elif isinstance(event, UsageEvent):
                tokens = event.usage.total_tokens
            elif isinstance(event, DoneEvent) and event.cached:
                # Somebody else's answer, which cost nothing.
                tokens = 0
    return tokens + judge_tokens


async def act(event: dict[str, Any], deps: CacheDependencies, *, deadline: float) -> dict[str, Any]:
    """Do what somebody asked for by hand. Raises InvalidInputError for what can't be understood.

    `{"action": "sweep" | "stats" | "invalidate" | "warm" | "flush", "tenant": …, "dry_run": true}`; `invalidate` also
    takes `document`, `answer_id` and `question`, `warm` a `budget`, `sweep` the `checkpoint` that the last one stopped at.
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
            sweeping = Pass.resumed(event.get("checkpoint") or {}, deadline=deadline)
            await sweep(deps, sweeping, only=tenant, dry_run=dry_run)
            return {"found": dict(sweeping.found), "checkpoint": sweeping.checkpoint}
        case "stats":
            names = [tenant] if tenant else await deps.registry.tenants()
            return {name: _figures(await deps.maintenance.stats(name)) for name in names}
        case "invalidate":
            given = {name: str(event[name]) for name in ("document", "answer_id", "question") if event.get(name)}
            if not given:
                raise InvalidInputError(
                    "Say which: `document`, `answer_id` or `question`; `flush` takes out everything."
                )
            return {"invalidated": await deps.maintenance.invalidate(tenant, **given, dry_run=dry_run)}
        case "warm":
            budget = event.get("budget")
            return await warm(
                deps, deadline=deadline, only=tenant, budget=None if budget is None else int(budget), dry_run=dry_run
            )
        case _:
            return {"flushed": await deps.maintenance.flush(tenant, dry_run=dry_run)}


def _figures(stats: CacheStats) -> dict[str, Any]:
    return {
        "lookups": stats.lookups,
        "exact_hits": stats.exact_hits,
        "semantic_hits": stats.semantic_hits,
        "hit_rate": round(stats.hit_rate, 4),
        "tokens_saved": stats.tokens_saved,
        "entries": stats.entries,
        "bytes": stats.bytes,
        "judged": stats.judged,
        "judge_tokens": stats.judge_tokens,
        "warm_candidates": stats.warm_candidates,
        "invalidated": dict(stats.invalidated),
    }


ACTIONS: dict[str, tuple[str, ...]] = {
    "sweep": ("checkpoint",),
    "stats": (),
    "invalidate": ("document", "answer_id", "question"),
    "warm": ("budget",),
    "flush": (),
}
