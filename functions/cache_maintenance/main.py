"""The cache maintenance function: woken by a schedule, or by hand. For now it reports what there is to maintain."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger

from headrace import wiring
from headrace.protocols import DocumentRegistry
from headrace.sandbox import Sandbox
from headrace.settings import Settings

logger = Logger(service="cache_maintenance")


@dataclass(frozen=True, slots=True)
class MaintenanceParts:
    """What maintenance works with."""

    registry: DocumentRegistry


@asynccontextmanager
async def open_parts() -> AsyncIterator[MaintenanceParts]:
    """The real parts, from the environment."""
    settings = Settings.from_env(os.environ)
    async with wiring.open_redis(settings) as redis:
        yield MaintenanceParts(registry=wiring.registry_on(redis))


sandbox = Sandbox(open_parts)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Report, a tenant each, the documents by state and the revision that cached answers are checked against."""
    return sandbox.run(report)


async def report(parts: MaintenanceParts) -> dict[str, Any]:
    """`{"tenants": {name: {"revision", "documents": {state: count}}}}`."""
    tenants = {}
    for tenant in await parts.registry.tenants():
        states = Counter(document.state.value for document in await parts.registry.documents(tenant))
        tenants[tenant] = {"revision": await parts.registry.revision(tenant), "documents": dict(states)}
    logger.info("report", tenants=tenants)
    return {"tenants": tenants}
