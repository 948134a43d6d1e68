"""The dead-letter queue: documents that no try could finish, and whose record may not say so.

A try that fails says why itself. What arrives here has ended the function each time, before it could.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace

from functions.ingest.again import look_again
from functions.ingest.labels import known_to, look, narrowed, sidecar_etag
from functions.ingest.pipeline import IngestParts, is_current, synchronise, with_history
from headrace.errors import SupersededError
from headrace.types import Document, DocumentKey, DocumentState

REASON = (
    "Given up: each try at reading it ended the function, most likely for want of memory or time. Split the file, or "
    "give the function more; `make redrive` tries again."
)


async def give_up(key: DocumentKey, parts: IngestParts) -> None:
    """Leave the document `failed`, unless it is done, gone or says so already. An old version stays searchable."""
    seen = await look(key, parts.bucket)
    if seen is None:
        await synchronise(key, parts)
        return
    attempt = await parts.registry.begin(key, embedding_model=parts.embedder.model)
    known = await parts.registry.get(key) or Document(key.key, DocumentState.QUEUED)
    if is_current(known, seen, parts.recipe):
        # What the try that ended the function has left behind.
        await parts.store.retire(key, before=known.generation or attempt.number)
        return
    if known.state == DocumentState.FAILED and known.etag == seen.etag:
        return
    given_up = replace(
        narrowed(known, known_to(seen)),
        state=DocumentState.FAILED,
        reason=REASON,
        etag=seen.etag,
        version_id=seen.version_id,
        sidecar=sidecar_etag(seen),
        size_bytes=seen.size_bytes,
        uploaded_at=seen.modified_at,
        updated_at=time.time(),
        pipeline="",
    )
    # Whoever began after us is at work on it: it is not given up.
    with suppress(SupersededError):
        await parts.registry.save(with_history(given_up), attempt)


async def redrive(tenant: str, parts: IngestParts) -> int:
    """Put every document of the tenant that was given up into the queue once more; returns how many."""
    documents = await parts.registry.documents(tenant)
    lost = [document.key for document in documents if document.state == DocumentState.FAILED and not document.pipeline]
    await look_again(lost, parts, queue=parts.queue)
    return len(lost)
