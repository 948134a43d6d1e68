"""Looks after documents: has lost registries rebuilt and forsaken documents read."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger

from headrace.messages import object_changed, rebuild_registry
from headrace.protocols import Bucket, DocumentRegistry, Queue

logger = Logger(service="cache_maintenance")


@dataclass(frozen=True, slots=True)
class DocumentParts:
    """What it takes. Without a queue nothing can be asked of ingest."""

    registry: DocumentRegistry
    bucket: Bucket
    queue: Queue | None


async def look_after_documents(parts: DocumentParts) -> dict[str, Any]:
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
