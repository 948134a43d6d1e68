"""The flip: in one step a new version becomes what searches see, and the cached answers that it invalidates leave."""

from __future__ import annotations

from functions.ingest.write import Written
from headrace.protocols import DocumentRegistry, InvalidationPlanner
from headrace.types import Attempt, Document

# How often the invalidation is planned anew because other answers have come in meanwhile.
PLANS = 4


async def flip(
    document: Document,
    attempt: Attempt,
    written: Written,
    *,
    registry: DocumentRegistry,
    planner: InvalidationPlanner | None,
) -> None:
    """Make the new version current, and invalidate the cached answers that it changes.

    `written` is empty when the chunks did not change.
    """
    if planner is not None and written.chunks:
        for _ in range(PLANS):
            invalidation = await planner.plan(attempt.key.tenant, written.chunks, attempt.embedding_model)
            if await registry.save(document, attempt, watermark=written.watermark, invalidation=invalidation):
                return
    # Without a plan each cached answer is revalidated when it is asked for.
    await registry.save(document, attempt, watermark=written.watermark)
