"""Moves a tenant to another embedding model: a collection is filled beside the old one, then the registry switches.

The chunks' texts are taken from the old collection, so nothing is fetched or parsed again. Searches and ingestion go
on with the old model until the switch, which happens only at a moment when nothing is missing in the new collection.
What was copied is found again by the next run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headrace.errors import ConfigurationError, UnavailableError
from headrace.protocols import DocumentRegistry, Embedder, VectorStore
from headrace.types import Chunk, DocumentKey, EmbeddedChunk

ReportProgress = Callable[[str], None]

BATCH = 256
PASSES = 20


@dataclass(frozen=True, slots=True)
class ReindexDependencies:
    """Where chunks come from and go to, and who embeds them."""

    source: VectorStore
    target: VectorStore
    embedder: Embedder
    registry: DocumentRegistry


async def reindex(tenant: str, deps: ReindexDependencies, *, report_progress: ReportProgress) -> int:
    """Copy what is current, then switch; returns how many chunks were embedded.

    Raises UnavailableError, and ConfigurationError when the old collection has not all that is current.
    A document that changes meanwhile is copied in the next pass.
    """
    copied = watermark = 0
    for _ in range(PASSES):
        revision = await deps.registry.revision(tenant)
        missing = await _missing(tenant, deps)
        if missing:
            written, seen = await _copy(tenant, missing, deps, report_progress)
            if not written and revision == await deps.registry.revision(tenant):
                raise ConfigurationError(
                    f"The old collection lacks the chunks of {len(missing)} documents of {tenant!r}, {min(missing)!r} "
                    "among them. Run `make rebuild` with the old model first, then `make reindex` again."
                )
            copied, watermark = copied + written, max(watermark, seen)
        elif await deps.registry.switch_model(tenant, deps.embedder.model, revision=revision, watermark=watermark):
            report_progress(f"{tenant}: switched to {deps.embedder.model}; {copied} chunks were embedded")
            return copied
    raise UnavailableError(f"The documents of {tenant!r} change faster than they are copied. Run it when it is quiet.")


async def _missing(tenant: str, deps: ReindexDependencies) -> dict[str, int]:
    """The current generation of each document that the new collection lacks, or has in part."""
    current = {
        d.key: (d.generation, d.chunks) for d in await deps.registry.documents(tenant) if d.generation is not None
    }
    held: dict[tuple[str, int], int] = defaultdict(int)
    async for chunk in deps.target.scan(tenant):
        held[chunk.document_key, chunk.generation] += 1
    for key, generation in held:
        if current.get(key, (None, 0))[0] != generation:
            await deps.target.delete_generation(DocumentKey(key), generation=generation)
    return {key: generation for key, (generation, count) in current.items() if held.get((key, generation), 0) != count}


async def _copy(
    tenant: str, missing: dict[str, int], deps: ReindexDependencies, report_progress: ReportProgress
) -> tuple[int, int]:
    """How many chunks were written, and the watermark from which searches see them."""
    batch: list[Chunk] = []
    written = watermark = 0
    async for chunk in deps.source.scan(tenant):
        if missing.get(chunk.document_key) == chunk.generation:
            batch.append(chunk)
        if len(batch) == BATCH:
            watermark = max(watermark, await _write(batch, deps))
            written += len(batch)
            report_progress(f"{tenant}: {written} chunks")
            batch = []
    if batch:
        watermark = max(watermark, await _write(batch, deps))
    return written + len(batch), watermark


async def _write(chunks: Sequence[Chunk], deps: ReindexDependencies) -> int:
    vectors = await deps.embedder.embed([chunk.text_to_embed for chunk in chunks])
    await deps.target.ensure(len(vectors[0]))
    return await deps.target.upsert([EmbeddedChunk(c, v) for c, v in zip(chunks, vectors, strict=True)])
