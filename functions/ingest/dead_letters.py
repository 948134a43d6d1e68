"""The dead-letter queue: documents that no try could finish, and whose record may not say so.

A try that fails says why itself. What arrives here has ended the function each time, before it could.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace

from functions.ingest.dependencies import IngestDependencies
from functions.ingest.history import with_history
from functions.ingest.labels import known_to, narrowed, observe, sidecar_etag
from functions.ingest.metrics import tell
from functions.ingest.pipeline import is_current, synchronise
from functions.ingest.resync import resync
from headrace.errors import SupersededError
from headrace.types import Document, DocumentKey, DocumentState

REASON = (
    "Given up: each try at reading it ended the function, most likely for want of memory or time. Split the file, or "
    "give the function more; `make redrive` tries again."
)


async def give_up(key: DocumentKey, deps: IngestDependencies) -> None:
    """Leave the document `failed`, unless it is done, gone or says so already. An old version stays searchable."""
    seen = await observe(key, deps.bucket)
    if seen is None:
        await synchronise(key, deps)
        return
    attempt = await deps.registry.begin(key, embedding_model=deps.embedder.model)
    known = await deps.registry.get(key) or Document(key.key, DocumentState.QUEUED)
    if is_current(known, seen, deps.recipe):
        # What the try that ended the function has left behind.
        await deps.store.delete_older(key, before=known.generation or attempt.number)
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
        await deps.registry.save(with_history(given_up), attempt)
        tell(deps.report, DocumentState.FAILED)


async def redrive(tenant: str, deps: IngestDependencies) -> int:
    """Put every document of the tenant that was given up into the queue once more; returns how many."""
    documents = await deps.registry.documents(tenant)
    lost = [document.key for document in documents if document.state == DocumentState.FAILED and not document.pipeline]
    await resync(lost, deps, queue=deps.queue)
    return len(lost)
