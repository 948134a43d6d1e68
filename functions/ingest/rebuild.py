"""Rebuilds a tenant's lost registry from what the bucket holds and the store has.

The bucket is the last truth. A document whose current object version stands whole in the store gets its record back
without being read or embedded again; every other one is left to an ordinary attempt. Until the rebuild is through, the
registry says that it is not whole, and nothing is served from it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from functions.ingest.dependencies import IngestDependencies
from functions.ingest.inventory import StoredGeneration, inventory_of
from functions.ingest.labels import known_to, observe, readers_of, sidecar_etag, tags_of
from functions.ingest.pipeline import is_current
from functions.ingest.resync import ReportProgress, resync
from functions.ingest.tenants import documents_in_bucket
from headrace.errors import DocumentError, SupersededError
from headrace.protocols import Queue
from headrace.types import ChunkId, Document, DocumentKey, DocumentState, ObjectVersion

CHUNKS_PAGE = 200


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """How many documents were found again as they were, and how many have to be read anew or forgotten."""

    recovered: int
    read_anew: int


async def rebuild(
    tenant: str, deps: IngestDependencies, *, queue: Queue | None, report_progress: ReportProgress
) -> RebuildReport:
    """Make the tenant's registry whole. What has to be read anew goes into the queue, or is read here without one."""
    stored = await inventory_of(tenant, deps.store)
    keys = {version.key async for version in documents_in_bucket(tenant, deps)}
    known = {document.key for document in await deps.registry.documents(tenant)}
    report_progress(f"{tenant}: {len(keys)} documents in the bucket, {len(stored)} in the store")
    left = []
    for number, key in enumerate(sorted(keys | known | stored.keys()), 1):
        if not await _recover(DocumentKey(key), stored.get(key, {}), deps):
            left.append(key)
        if number % 100 == 0:
            report_progress(f"{tenant}: {number} documents looked at")
    for key in left:
        await requeue(DocumentKey(key), deps)
    await resync(left, deps, queue=queue, report_progress=report_progress)
    await deps.registry.open_epoch(tenant)
    return RebuildReport(len(keys | known | stored.keys()) - len(left), len(left))


async def _recover(key: DocumentKey, stored: Mapping[int, StoredGeneration], deps: IngestDependencies) -> bool:
    """Write the record of a document that the store has as the bucket has it; False when that is not so.

    What was stored may be old news: an attempt is begun, and ends every other, only when there is something to save.
    """
    seen = await observe(key, deps.bucket)
    known = await deps.registry.get(key)
    if seen is None:
        return False
    if known is not None and is_current(known, seen, deps.recipe):
        return known.generation is None or await _is_whole(key, known.generation, known.chunks, deps)
    whole = [generation for generation, found in stored.items() if _is_of(found, seen)]
    if not whole:
        return False
    generation = max(whole)
    attempt = await deps.registry.begin(key, embedding_model=deps.embedder.model)
    same = (await observe(key, deps.bucket), await deps.registry.get(key)) == (seen, known)
    if not same or not await _is_whole(key, generation, stored[generation].first.total, deps):
        return False
    now = time.time()
    document = Document(
        key=key.key,
        state=DocumentState.READY,
        size_bytes=seen.size_bytes,
        chunks=stored[generation].first.total,
        generation=generation,
        etag=seen.etag,
        version_id=seen.version_id,
        sidecar=sidecar_etag(seen),
        pipeline=deps.recipe,
        groups=stored[generation].first.groups,
        tags=stored[generation].first.tags,
        language=stored[generation].first.language,
        uploaded_at=seen.modified_at,
        updated_at=now,
        ready_at=now,
    )
    try:
        await deps.registry.save(document, attempt)
    except SupersededError:
        # Somebody else has begun on it after us, and sees what we see.
        return True
    for other in stored.keys() - {generation}:
        await deps.store.delete_generation(key, generation=other)
    return True


async def _is_whole(key: DocumentKey, generation: int, total: int, deps: IngestDependencies) -> bool:
    """Whether the store has every chunk of a generation now."""
    wanted = [ChunkId(key.key, generation, position) for position in range(total)]
    pages = [wanted[start : start + CHUNKS_PAGE] for start in range(0, total, CHUNKS_PAGE)]
    return sum([len(await deps.store.chunks(key.tenant, page)) for page in pages]) == total > 0


def _is_of(stored: StoredGeneration, seen: ObjectVersion) -> bool:
    first = stored.first
    try:
        readers_of(seen)
    except DocumentError:
        # It would be read, and end as failed.
        return False
    return stored.is_whole and (first.etag, first.groups, first.tags) == (seen.etag, known_to(seen), tags_of(seen))


async def requeue(key: DocumentKey, deps: IngestDependencies) -> None:
    """Take back that a document is ready, or else the next attempt would believe it. It is not in the store."""
    known = await deps.registry.get(key)
    if known is None or not known.pipeline:
        return
    attempt = await deps.registry.begin(key, embedding_model=deps.embedder.model)
    lost = replace(known, state=DocumentState.QUEUED, generation=None, chunks=0, content="", pipeline="")
    with suppress(SupersededError):
        await deps.registry.save(lost, attempt)
