"""Maintenance of documents: lost registries are rebuilt, and abandoned documents are read again."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger

from headrace.protocols import Bucket, DocumentRegistry, Queue
from headrace.queues.messages import object_changed, rebuild_registry

logger = Logger(service="cache_maintenance")


@dataclass(frozen=True, slots=True)
class DocumentDependencies:
    """What it works with. Without a queue ingest can't be asked for anything."""

    registry: DocumentRegistry
    bucket: Bucket
    queue: Queue | None


async def maintain_documents(deps: DocumentDependencies) -> dict[str, Any]:
    """`{"tenants": {name: {"revision", "documents": {state: count}}}, "rebuilding": [name], "abandoned": [key]}`."""
    tenants = {}
    lost, abandoned = [], []
    # The bucket knows of tenants that a lost registry has forgotten.
    for tenant in sorted({*await deps.bucket.tenants(), *await deps.registry.tenants()}):
        documents = await deps.registry.documents(tenant)
        abandoned += [document.key for document in documents if document.is_abandoned(time.time())]
        states = Counter(document.state.value for document in documents)
        tenants[tenant] = {"revision": await deps.registry.revision(tenant), "documents": dict(states)}
        if not (await deps.registry.snapshot(tenant)).epoch:
            lost.append(tenant)
    if lost and deps.queue is not None:
        logger.warning("has lost registries rebuilt", tenants=lost)
        await deps.queue.send([rebuild_registry(tenant) for tenant in lost])
    if abandoned and deps.queue is not None:
        logger.warning("has abandoned documents read again", documents=abandoned)
        await deps.queue.send([object_changed(key) for key in abandoned])
    logger.info("report", tenants=tenants)
    return {"tenants": tenants, "rebuilding": lost, "abandoned": abandoned}
