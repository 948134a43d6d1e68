"""Has documents looked at again: through the queue where there is one, else here and now."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from functions.ingest.pipeline import IngestParts, synchronise
from headrace.messages import object_changed
from headrace.protocols import Queue
from headrace.types import DocumentKey

Say = Callable[[str], None]

QUEUE_PAGE = 100


async def look_again(
    keys: Sequence[str], parts: IngestParts, *, queue: Queue | None, say: Say = lambda _text: None
) -> None:
    """Bring these documents in line with what the bucket holds; `say` hears of each that is read here."""
    if queue is None:
        for number, key in enumerate(keys, 1):
            await synchronise(DocumentKey(key), parts)
            say(f"read anew: {number} of {len(keys)}, {key}")
        return
    for start in range(0, len(keys), QUEUE_PAGE):
        await queue.send([object_changed(key) for key in keys[start : start + QUEUE_PAGE]])
