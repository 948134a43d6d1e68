"""Delay records: a document's record says why an attempt failed, while another one is to come or none is left."""

from __future__ import annotations

import time
from dataclasses import replace

from functions.ingest.dependencies import IngestDependencies
from functions.ingest.history import with_history
from functions.ingest.metrics import tell
from headrace.errors import SupersededError, UnavailableError
from headrace.types import NO_READERS, Attempt, Document, DocumentState


async def record_delay(attempt: Attempt, deps: IngestDependencies, reason: str, *, last_try: bool) -> None:
    """Record in the document why the attempt failed. If even that fails, the message is still tried again."""
    said = f"Given up after several tries: {reason}" if last_try else f"{reason} It will be tried again by itself."
    try:
        unknown = Document(attempt.key.key, DocumentState.QUEUED, groups=NO_READERS)
        document = await deps.registry.get(attempt.key) or unknown
        match document.state:
            case DocumentState.FAILED:
                return
            case DocumentState.READY:
                # What is searchable is an older version, or the same: it stays, and the reason stands beside it.
                late = replace(document, reason=said)
            case _ if last_try:
                late = replace(document, state=DocumentState.FAILED, reason=said, progress=None)
            case _:
                late = replace(document, state=DocumentState.QUEUED, reason=said)
        await deps.registry.save(with_history(replace(late, updated_at=time.time())), attempt)
        if late.state is DocumentState.FAILED:
            tell(deps.report, DocumentState.FAILED)
    except (SupersededError, UnavailableError):
        return
