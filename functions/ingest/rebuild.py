"""Rebuilds a tenant's lost registry from what the bucket holds and the store has.

The bucket is the last truth. A document whose current object version stands whole in the store gets its record back
without being read or embedded again; every other one is left to an ordinary attempt. Until the rebuild is through, the
registry says that it is not whole, and nothing is served from it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from functions.ingest.labels import known_to, look, readers_of, sidecar_etag, tags_of
from functions.ingest.pipeline import IngestParts, documents_in_bucket, is_current, synchronise
from headrace.errors import DocumentError, SupersededError
from headrace.messages import object_changed
from headrace.protocols import Queue
from headrace.types import Chunk, ChunkId, Document, DocumentKey, DocumentState, ObjectVersion

Say = Callable[[str], None]

CHUNKS_PAGE = 200
QUEUE_PAGE = 100


@dataclass(slots=True)
class StoredGeneration:
    """What the store has of one generation of a document."""

    first: Chunk
    indexes: set[int] = field(default_factory=set)

    @property
    def is_whole(self) -> bool:
        return self.first.total > 0 and self.indexes == set(range(self.first.total))


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """How many documents were found again as they were, and how many have to be read anew or forgotten."""

    recovered: int
    read_anew: int


async def rebuild(tenant: str, parts: IngestParts, *, queue: Queue | None, say: Say) -> RebuildReport:
    """Make the tenant's registry whole. What has to be read anew goes into the queue, or is read here without one."""
    stored: dict[str, dict[int, StoredGeneration]] = defaultdict(dict)
    async for chunk in parts.store.scan(tenant):
        stored[chunk.document_key].setdefault(chunk.generation, StoredGeneration(chunk)).indexes.add(chunk.index)
    keys = {version.key async for version in documents_in_bucket(tenant, parts)}
    known = {document.key for document in await parts.registry.documents(tenant)}
    say(f"{tenant}: {len(keys)} documents in the bucket, {len(stored)} in the store")
    left = []
    for number, key in enumerate(sorted(keys | known | stored.keys()), 1):
        if not await _recover(DocumentKey(key), stored.get(key, {}), parts):
            left.append(DocumentKey(key))
        if number % 100 == 0:
            say(f"{tenant}: {number} documents looked at")
    await _read_anew(left, parts, queue, say)
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


async def _read_anew(keys: list[DocumentKey], parts: IngestParts, queue: Queue | None, say: Say) -> None:
    for start in range(0, len(keys), QUEUE_PAGE):
        page = keys[start : start + QUEUE_PAGE]
        for key in page:
            await disown(key, parts)
        if queue is not None:
            await queue.send([object_changed(key.key) for key in page])
            continue
        for number, key in enumerate(page, start + 1):
            await synchronise(key, parts)
            say(f"read anew: {number} of {len(keys)}, {key.key}")


async def disown(key: DocumentKey, parts: IngestParts) -> None:
    """Take back that a document is ready, or else the next attempt would believe it. It is not in the store."""
    known = await parts.registry.get(key)
    if known is None or not known.pipeline:
        return
    attempt = await parts.registry.begin(key, embedding_model=parts.embedder.model)
    lost = replace(known, state=DocumentState.QUEUED, generation=None, chunks=0, content="", pipeline="")
    with suppress(SupersededError):
        await parts.registry.save(lost, attempt)
