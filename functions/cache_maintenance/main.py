"""The cache maintenance function: woken by a schedule, or by hand. Composition root and Lambda entry."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from aws_lambda_powertools import Logger

from functions.cache_maintenance.documents import DocumentDependencies, maintain_documents
from functions.cache_maintenance.ledger import LEDGER_ACTIONS, LedgerDependencies, keep_ledger, use_ledger
from functions.cache_maintenance.sweep import CacheDependencies, Pass, Report, act, report, sweep, warm
from headrace import wiring
from headrace.concurrency.handler_loop import HandlerLoop
from headrace.concurrency.renewing import Renewing
from headrace.errors import HeadraceError, InvalidInputError
from headrace.settings import Settings
from headrace.types import CacheStats

# Time to write down the checkpoint, before Lambda ends the invocation.
DEADLINE_MARGIN_SECONDS = 10.0

logger = Logger(service="cache_maintenance")


@dataclass(frozen=True, slots=True)
class MaintenanceDependencies:
    """What maintenance works with."""

    documents: DocumentDependencies
    cache: CacheDependencies
    ledger: LedgerDependencies | None = None


async def read_settings() -> Settings:
    """What the environment says, and the secret that it names."""
    return await wiring.read_settings(os.environ)


@asynccontextmanager
async def open_dependencies() -> AsyncIterator[MaintenanceDependencies]:
    """The real parts, from the environment."""
    async with open_with(await read_settings()) as deps:
        yield deps


@asynccontextmanager
async def open_with(settings: Settings) -> AsyncIterator[MaintenanceDependencies]:
    """The real parts, as the settings shape them."""
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(wiring.open_redis(settings))
        registry = wiring.registry_on(redis)
        bucket = await stack.enter_async_context(wiring.open_bucket(settings))
        queue = await stack.enter_async_context(wiring.open_queue(settings))
        cache = CacheDependencies(
            maintenance=wiring.cache_maintenance_on(redis, settings),
            registry=registry,
            embedding_model=settings.embedding_model,
            open_answering=lambda: wiring.open_answering(settings, redis),
            warm_answers=settings.cache_warm_answers,
            token_price=settings.token_price_per_million / 1_000_000,
            report=_report(settings) if "AWS_LAMBDA_FUNCTION_NAME" in os.environ else None,
        )
        records = wiring.ledger_queue_on(redis, settings) if settings.ledger_kind == "sql" else None
        ledger = None
        if records is not None:
            ledger = LedgerDependencies(records, partial(wiring.open_ledger, settings), settings.ledger_days)
        yield MaintenanceDependencies(DocumentDependencies(registry, bucket, queue), cache, ledger)


handler_loop = HandlerLoop(Renewing(read_settings, open_with))


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Do what `event` asks for (`{"action": …}`), or all that the schedule is for."""
    seconds = context.get_remaining_time_in_millis() / 1000 - DEADLINE_MARGIN_SECONDS
    deadline = time.monotonic() + max(seconds, 0.0)
    return handler_loop.run(lambda deps: handle(event, deps, deadline=deadline))


async def handle(event: dict[str, Any], deps: MaintenanceDependencies, *, deadline: float) -> dict[str, Any]:
    """The answer to somebody's action, or the report of a scheduled run."""
    if "action" not in event:
        return await maintain(deps, deadline=deadline)
    try:
        if event["action"] in LEDGER_ACTIONS:
            if deps.ledger is None:
                raise InvalidInputError("No ledger is kept here: LEDGER_URL is not set.", param="action")
            done = await use_ledger(event, deps.ledger, deadline=deadline)
        else:
            done = await act(event, deps.cache, deadline=deadline)
    except InvalidInputError as error:
        return {"error": {"message": str(error), "param": error.param, "code": error.code}}
    logger.info("did by hand", action=event["action"], tenant=event.get("tenant"), done=done)
    return done


async def maintain(deps: MaintenanceDependencies, *, deadline: float) -> dict[str, Any]:
    """The ledger and the documents first, then the cache: sweep on from the last checkpoint, warm, report."""
    kept = {} if deps.ledger is None else {"ledger": await _kept(deps.ledger, deadline)}
    documents = await maintain_documents(deps.documents)
    sweeping = Pass.resumed(await deps.cache.maintenance.checkpoint(), deadline=deadline)
    await sweep(deps.cache, sweeping)
    await deps.cache.maintenance.save_checkpoint(sweeping.checkpoint)
    warmed = await warm(deps.cache, deadline=deadline)
    told = await report(deps.cache)
    done = {"swept": dict(sweeping.found), "checkpoint": sweeping.checkpoint, **warmed, "cache": told}
    logger.info("maintained the cache", **done)
    return {**documents, **done, **kept}


async def _kept(ledger: LedgerDependencies, deadline: float) -> dict[str, Any]:
    """What the ledger's upkeep did. Whatever is wrong with it, documents and cache are looked after."""
    try:
        return await keep_ledger(ledger, deadline=deadline)
    except HeadraceError as error:
        logger.warning("the ledger can't be kept", reason=str(error))
        return {"fault": str(error)}
    except Exception:
        logger.exception("the ledger can't be kept")
        return {"fault": "internal_error"}


def _report(settings: Settings) -> Report:
    by_tenant = settings.tenant_metrics == "on"
    return partial(report_to_cloudwatch, namespace=settings.metrics_namespace, by_tenant=by_tenant)


def report_to_cloudwatch(
    tenant: str, since: CacheStats, dollars: float, *, namespace: str, by_tenant: bool = False
) -> None:
    """Print one line that CloudWatch makes metrics of: sums over all tenants, or each tenant's own, which cost by the tenant.

    Where nobody has asked and nothing was invalidated there is nothing to tell: a metric costs in the hours in which it is told.
    """
    if not (since.lookups or any(since.invalidated.values())):
        return
    # A cold start has no need of it.
    from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

    metrics = EphemeralMetrics(namespace=namespace, service="cache_maintenance")
    if by_tenant:
        metrics.add_dimension(name="tenant", value=tenant)
    counts = {
        "CacheLookups": since.lookups,
        "CacheExactHits": since.exact_hits,
        "CacheSemanticHits": since.semantic_hits,
        "CacheTokensSaved": since.tokens_saved,
        "CacheJudgeTokens": since.judge_tokens,
        "CacheEntries": since.entries,
        "CacheInvalidated": sum(since.invalidated.values()),
    }
    for name, value in counts.items():
        metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
    metrics.add_metric(name="CacheBytes", unit=MetricUnit.Bytes, value=since.bytes)
    metrics.add_metric(name="CacheHitRate", unit=MetricUnit.Percent, value=100 * since.hit_rate)
    metrics.add_metric(name="CacheDollarsSaved", unit=MetricUnit.NoUnit, value=dollars)
    metrics.flush_metrics()
