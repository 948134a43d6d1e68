"""Brings documents in line with the bucket once more: through the queue where there is one, else here and now."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from functions.ingest.dependencies import IngestDependencies
from functions.ingest.pipeline import synchronise
from headrace.protocols import Queue
from headrace.queues.messages import object_changed
from headrace.types import DocumentKey

ReportProgress = Callable[[str], None]

QUEUE_PAGE = 100


async def resync(
    keys: Sequence[str],
    deps: IngestDependencies,
    *,
    queue: Queue | None,
    report_progress: ReportProgress = lambda _text: None,
) -> None:
    """Bring these documents in line with what the bucket holds; `report_progress` is told of each one that is read here."""
    if queue is None:
        for number, key in enumerate(keys, 1):
            await synchronise(DocumentKey(key), deps)
            report_progress(f"read anew: {number} of {len(keys)}, {key}")
        return
    for start in range(0, len(keys), QUEUE_PAGE):
        await queue.send([object_changed(key) for key in keys[start : start + QUEUE_PAGE]])
