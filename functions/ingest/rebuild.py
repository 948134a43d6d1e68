"""Rebuilds a tenant's lost registry from what the bucket holds and the store has.

The bucket is the last truth. A document whose current object version stands whole in the store gets its record back
without being read or embedded again; every other one is left to an ordinary attempt. Until the rebuild is through, the
registry says that it is not whole, and nothing is served from it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from functions.ingest.pipeline import PIPELINE_VERSION, IngestParts, is_current, synchronise
from functions.ingest.readers import known_to
from headrace.errors import SupersededError
from headrace.messages import object_changed
from headrace.protocols import Queue
from headrace.types import DOCUMENTS_PREFIX, Chunk, Document, DocumentKey, DocumentState, ObjectVersion

Say = Callable[[str], None]


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
    keys = {key.key for key in await _keys_in_bucket(tenant, parts)}
    known = {document.key for document in await parts.registry.documents(tenant)}
    say(f"{tenant}: {len(keys)} documents in the bucket, {len(stored)} in the store")
    left = []
    for number, key in enumerate(sorted(keys | known | stored.keys()), 1):
        if not await _recover(DocumentKey(key), stored.get(key, {}), parts):
            left.append(key)
        if number % 100 == 0:
            say(f"{tenant}: {number} documents looked at")
    await _read_anew(left, parts, queue, say)
    await parts.registry.open_epoch(tenant)
    return RebuildReport(len(keys | known | stored.keys()) - len(left), len(left))


async def _keys_in_bucket(tenant: str, parts: IngestParts) -> list[DocumentKey]:
    # The default tenant's documents lie beside the other tenants' folders.
    folder = DOCUMENTS_PREFIX + (f"{tenant}/" if DocumentKey(f"{DOCUMENTS_PREFIX}x").tenant != tenant else "")
    keys = [DocumentKey(version.key) async for version in parts.bucket.objects(folder)]
    return [key for key in keys if key.is_document and key.tenant == tenant]


async def _recover(key: DocumentKey, stored: Mapping[int, StoredGeneration], parts: IngestParts) -> bool:
    """Write the record of a document that the store has as the bucket has it; False when that is not so."""
    attempt = await parts.registry.begin(key, embedding_model=parts.embedder.model)
    seen = await parts.bucket.head(key.key)
    known = await parts.registry.get(key)
    if seen is None:
        return False
    whole = {generation for generation, found in stored.items() if _is_of(found, seen)}
    if known is not None and is_current(known, seen) and (known.generation is None or known.generation in whole):
        return True
    if not whole:
        return False
    generation = max(whole)
    now = time.time()
    document = Document(
        key=key.key,
        state=DocumentState.READY,
        size_bytes=seen.size_bytes,
        chunks=stored[generation].first.total,
        generation=generation,
        etag=seen.etag,
        version_id=seen.version_id,
        pipeline=PIPELINE_VERSION,
        groups=stored[generation].first.groups,
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


def _is_of(stored: StoredGeneration, seen: ObjectVersion) -> bool:
    return stored.is_whole and stored.first.etag == seen.etag and stored.first.groups == known_to(seen)


async def _read_anew(keys: list[str], parts: IngestParts, queue: Queue | None, say: Say) -> None:
    if queue is not None:
        await queue.send([object_changed(key) for key in keys])
        return
    for number, key in enumerate(keys, 1):
        await synchronise(DocumentKey(key), parts, last_try=True)
        say(f"read anew: {number} of {len(keys)}, {key}")
