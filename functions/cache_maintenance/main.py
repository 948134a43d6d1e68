"""The cache maintenance function: woken by a schedule, or by hand. Has lost registries rebuilt and forsaken documents read, and reports."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger

from headrace import wiring
from headrace.messages import object_changed, rebuild_registry
from headrace.protocols import Bucket, DocumentRegistry, Queue
from headrace.sandbox import Sandbox
from headrace.settings import Settings

logger = Logger(service="cache_maintenance")


@dataclass(frozen=True, slots=True)
class MaintenanceParts:
    """What maintenance works with. Without a queue nothing can be asked of ingest."""

    registry: DocumentRegistry
    bucket: Bucket
    queue: Queue | None


@asynccontextmanager
async def open_parts() -> AsyncIterator[MaintenanceParts]:
    """The real parts, from the environment."""
    settings = Settings.from_env(os.environ)
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(wiring.open_redis(settings))
        yield MaintenanceParts(
            registry=wiring.registry_on(redis),
            bucket=await stack.enter_async_context(wiring.open_bucket(settings)),
            queue=await stack.enter_async_context(wiring.open_queue(settings)),
        )


sandbox = Sandbox(open_parts)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Have lost registries rebuilt and forsaken documents read; report, a tenant each, its documents by state and its revision."""
    return sandbox.run(maintain)


async def maintain(parts: MaintenanceParts) -> dict[str, Any]:
    """`{"tenants": {name: {"revision", "documents": {state: count}}}, "rebuilding": [name], "forsaken": [key]}`."""
    tenants = {}
    lost, forsaken = [], []
    # The bucket knows of tenants that a lost registry has forgotten.
    for tenant in sorted({*await parts.bucket.tenants(), *await parts.registry.tenants()}):
        documents = await parts.registry.documents(tenant)
        forsaken += [document.key for document in documents if document.is_forsaken(time.time())]
        states = Counter(document.state.value for document in documents)
        tenants[tenant] = {"revision": await parts.registry.revision(tenant), "documents": dict(states)}
        if not (await parts.registry.standing(tenant)).epoch:
            lost.append(tenant)
    if lost and parts.queue is not None:
        logger.warning("has lost registries rebuilt", tenants=lost)
        await parts.queue.send([rebuild_registry(tenant) for tenant in lost])
    if forsaken and parts.queue is not None:
        logger.warning("has forsaken documents looked at again", documents=forsaken)
        await parts.queue.send([object_changed(key) for key in forsaken])
    logger.info("report", tenants=tenants)
    return {"tenants": tenants, "rebuilding": lost, "forsaken": forsaken}
