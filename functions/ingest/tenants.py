"""Tenants: their first document opens the registry, and their documents in the bucket."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from functions.ingest.dependencies import IngestDependencies
from headrace.types import DocumentKey, ObjectVersion, tenant_prefix

# A tenant whose other objects have been in the bucket for longer is not new: its registry was lost.
NEW_SECONDS = 900.0


async def open_tenant(key: DocumentKey, deps: IngestDependencies) -> None:
    """Open the registry of a new tenant. One that was lost stays closed until it is rebuilt.

    A tenant is new if it has no chunks, and no other object that has been there for long: registry and store may be lost
    together.
    """
    tenant = key.tenant
    if (await deps.registry.snapshot(tenant)).epoch or await deps.store.count(tenant):
        return
    async for version in documents_in_bucket(tenant, deps):
        if version.key != key.key and version.modified_at < time.time() - NEW_SECONDS:
            return
    await deps.registry.open_epoch(tenant)


async def documents_in_bucket(tenant: str, deps: IngestDependencies) -> AsyncIterator[ObjectVersion]:
    """The newest version of each document that the tenant has in the bucket."""
    async for version in deps.bucket.objects(tenant_prefix(tenant)):
        key = DocumentKey(version.key)
        if key.is_document and key.tenant == tenant:
            yield version
