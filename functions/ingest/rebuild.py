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

from functions.ingest.again import Say, look_again
from functions.ingest.labels import known_to, look, readers_of, sidecar_etag, tags_of
from functions.ingest.pipeline import IngestParts, documents_in_bucket, is_current
from functions.ingest.stored import StoredGeneration, stored_generations
from headrace.errors import DocumentError, SupersededError
from headrace.protocols import Queue
from headrace.types import ChunkId, Document, DocumentKey, DocumentState, ObjectVersion

CHUNKS_PAGE = 200


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """How many documents were found again as they were, and how many have to be read anew or forgotten."""

    recovered: int
    read_anew: int


async def rebuild(tenant: str, parts: IngestParts, *, queue: Queue | None, say: Say) -> RebuildReport:
    """Make the tenant's registry whole. What has to be read anew goes into the queue, or is read here without one."""
    stored = await stored_generations(tenant, parts.store)
    keys = {version.key async for version in documents_in_bucket(tenant, parts)}
    known = {document.key for document in await parts.registry.documents(tenant)}
    say(f"{tenant}: {len(keys)} documents in the bucket, {len(stored)} in the store")
    left = []
    for number, key in enumerate(sorted(keys | known | stored.keys()), 1):
        if not await _recover(DocumentKey(key), stored.get(key, {}), parts):
            left.append(key)
        if number % 100 == 0:
            say(f"{tenant}: {number} documents looked at")
    for key in left:
        await disown(DocumentKey(key), parts)
    await look_again(left, parts, queue=queue, say=say)
    await parts.registry.open_epoch(tenant)
    return RebuildReport(len(keys | known | stored.keys()) - len(left), len(left))


async def _recover(key: DocumentKey, stored: Mapping[int, StoredGeneration], parts: IngestParts) -> bool:
    """Write the record of a document that the store has as the bucket has it; False when that is not so.

    What was stored may be old news: an attempt is begun, and ends every other, only when there is something to save.
    """
    seen = await look(key, parts.bucket)
    known = await parts.registry.get(key)
    if seen is None:
        return False
    if known is not None and is_current(known, seen, parts.recipe):
        return known.generation is None or await _is_whole(key, known.generation, known.chunks, parts)
    whole = [generation for generation, found in stored.items() if _is_of(found, seen)]
    if not whole:
        return False
    generation = max(whole)
    attempt = await parts.registry.begin(key, embedding_model=parts.embedder.model)
    same = (await look(key, parts.bucket), await parts.registry.get(key)) == (seen, known)
    if not same or not await _is_whole(key, generation, stored[generation].first.total, parts):
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
        pipeline=parts.recipe,
        groups=stored[generation].first.groups,
        tags=stored[generation].first.tags,
        language=stored[generation].first.language,
        uploaded_at=seen.modified_at,
        updated_at=now,
        ready_at=now,
    )
    try:
        await parts.registry.save(document, attempt)
    except SupersededError:
        # Somebody else has begun on it after us, and sees what we see.
        return True
    for other in stored.keys() - {generation}:
        await parts.store.discard(key, generation=other)
    return True


async def _is_whole(key: DocumentKey, generation: int, total: int, parts: IngestParts) -> bool:
    """Whether the store has every chunk of a generation now."""
    wanted = [ChunkId(key.key, generation, position) for position in range(total)]
    pages = [wanted[start : start + CHUNKS_PAGE] for start in range(0, total, CHUNKS_PAGE)]
    return sum([len(await parts.store.chunks(key.tenant, page)) for page in pages]) == total > 0


def _is_of(stored: StoredGeneration, seen: ObjectVersion) -> bool:
    first = stored.first
    try:
        readers_of(seen)
    except DocumentError:
        # It would be read, and end as failed.
        return False
    return stored.is_whole and (first.etag, first.groups, first.tags) == (seen.etag, known_to(seen), tags_of(seen))


async def disown(key: DocumentKey, parts: IngestParts) -> None:
    """Take back that a document is ready, or else the next attempt would believe it. It is not in the store."""
    known = await parts.registry.get(key)
    if known is None or not known.pipeline:
        return
    attempt = await parts.registry.begin(key, embedding_model=parts.embedder.model)
    lost = replace(known, state=DocumentState.QUEUED, generation=None, chunks=0, content="", pipeline="")
    with suppress(SupersededError):
        await parts.registry.save(lost, attempt)
