"""The cache maintenance function: woken by a schedule, or by hand. Composition root and Lambda entry."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger

from functions.cache_maintenance.registries import DocumentParts, look_after_documents
from functions.cache_maintenance.sweep import CacheParts, Run, act, report, sweep, warm
from headrace import wiring
from headrace.errors import InvalidInputError
from headrace.sandbox import Sandbox
from headrace.settings import Settings
from headrace.types import CacheStats

# Time to write down where a run stands, before Lambda ends the invocation.
DEADLINE_MARGIN_SECONDS = 10.0

logger = Logger(service="cache_maintenance")


@dataclass(frozen=True, slots=True)
class MaintenanceParts:
    """What maintenance works with."""

    documents: DocumentParts
    cache: CacheParts


@asynccontextmanager
async def open_parts() -> AsyncIterator[MaintenanceParts]:
    """The real parts, from the environment."""
    settings = Settings.from_env(os.environ)
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(wiring.open_redis(settings))
        registry = wiring.registry_on(redis)
        bucket = await stack.enter_async_context(wiring.open_bucket(settings))
        queue = await stack.enter_async_context(wiring.open_queue(settings))
        cache = CacheParts(
            upkeep=wiring.upkeep_of(redis, settings),
            registry=registry,
            embedding_model=settings.embedding_model,
            open_answering=lambda: wiring.open_answering(settings, redis),
            warm_answers=settings.cache_warm_answers,
            token_price=settings.token_price_per_million / 1_000_000,
            report=report_to_cloudwatch if "AWS_LAMBDA_FUNCTION_NAME" in os.environ else None,
        )
        yield MaintenanceParts(DocumentParts(registry, bucket, queue), cache)


sandbox = Sandbox(open_parts)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Do what `event` asks for (`{"action": …}`), or all that the schedule is for."""
    seconds = context.get_remaining_time_in_millis() / 1000 - DEADLINE_MARGIN_SECONDS
    deadline = time.monotonic() + max(seconds, 0.0)
    return sandbox.run(lambda parts: handle(event, parts, deadline=deadline))


async def handle(event: dict[str, Any], parts: MaintenanceParts, *, deadline: float) -> dict[str, Any]:
    """The answer to somebody's action, or the report of a scheduled run."""
    if "action" not in event:
        return await maintain(parts, deadline=deadline)
    try:
        done = await act(event, parts.cache, deadline=deadline)
    except InvalidInputError as error:
        return {"error": {"message": str(error), "param": error.param, "code": error.code}}
    logger.info("did by hand", action=event["action"], tenant=event.get("tenant"), done=done)
    return done


async def maintain(parts: MaintenanceParts, *, deadline: float) -> dict[str, Any]:
    """Documents first, then the cache: sweep on from where the last run left off, warm, report."""
    documents = await look_after_documents(parts.documents)
    place = await parts.cache.upkeep.place()
    run = Run(deadline, tenant=str(place.get("tenant", "")), cursor=int(place.get("cursor", 0)))
    await sweep(parts.cache, run)
    await parts.cache.upkeep.leave_off(run.place)
    warmed = await warm(parts.cache, deadline=deadline)
    told = await report(parts.cache)
    done = {"swept": dict(run.found), "place": run.place, **warmed, "cache": told}
    logger.info("looked after the cache", **done)
    return {**documents, **done}


def report_to_cloudwatch(tenant: str, since: CacheStats, dollars: float) -> None:
    """Print one line that CloudWatch makes metrics of."""
    # A cold start has no need of it.
    from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

    metrics = EphemeralMetrics(namespace="Headrace", service="cache_maintenance")
    metrics.add_dimension(name="tenant", value=tenant)
    counts = {
        "CacheLookups": since.lookups,
        "CacheExactHits": since.exact_hits,
        "CacheSemanticHits": since.semantic_hits,
        "CacheTokensSaved": since.tokens_saved,
        "CacheEntries": since.entries,
        "CacheRetired": sum(since.retired.values()),
    }
    for name, value in counts.items():
        metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
    metrics.add_metric(name="CacheBytes", unit=MetricUnit.Bytes, value=since.bytes)
    metrics.add_metric(name="CacheHitRate", unit=MetricUnit.Percent, value=100 * since.hit_rate)
    metrics.add_metric(name="CacheDollarsSaved", unit=MetricUnit.NoUnit, value=dollars)
    metrics.flush_metrics()
