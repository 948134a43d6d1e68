"""The flip: in one step a new version is what searches see, and the cached answers that it puts an end to are gone."""

from __future__ import annotations

from functions.ingest.write import Written
from headrace.protocols import AnswerWatch, DocumentRegistry
from headrace.types import Attempt, Document

# How often the cached answers are looked through again because others have come in meanwhile.
LOOKS = 4


async def flip(
    document: Document,
    attempt: Attempt,
    written: Written,
    *,
    registry: DocumentRegistry,
    watch: AnswerWatch | None,
) -> None:
    """Save the document with what was written for it; nothing when its chunks are what they were."""
    if watch is not None and written.chunks:
        for _ in range(LOOKS):
            clearance = await watch.clearance(attempt.key.tenant, written.chunks, attempt.embedding_model)
            if await registry.save(document, attempt, mark=written.mark, clearance=clearance):
                return
    # Nobody could look through them: each is held against a search when it is asked for.
    await registry.save(document, attempt, mark=written.mark)
