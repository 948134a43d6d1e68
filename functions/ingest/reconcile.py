"""Reconciles bucket, registry and store: what backfill enqueues, and what verify finds and repairs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from functions.ingest.dependencies import IngestDependencies
from functions.ingest.inventory import StoredGeneration, inventory_of
from functions.ingest.rebuild import requeue
from functions.ingest.resync import resync
from headrace.errors import UnavailableError
from headrace.protocols import Bucket, DocumentRegistry
from headrace.types import ABANDONED_SECONDS, SIDECAR_SUFFIX, Document, DocumentKey, tenant_prefix


@dataclass(frozen=True, slots=True)
class Difference:
    """One document about which bucket, registry and store don't agree, and how: a sentence's end.

    `missing_chunks` when the store has not what the registry says; `extra_generations` are generations that it has too many.
    """

    key: str
    what: str
    missing_chunks: bool = False
    extra_generations: tuple[int, ...] = ()


async def find_outdated(
    tenant: str,
    prefix: str,
    *,
    bucket: Bucket,
    registry: DocumentRegistry,
    recipe: str,
    after_seconds: float = ABANDONED_SECONDS,
) -> list[Difference]:
    """Documents below the prefix whose record is not of the object version, or the sidecar, that the bucket holds now.

    What is on its way counts when it has been so for an hour. Asks the bucket for its listing alone, so labels that only
    an object's metadata has are not compared.
    """
    known = {d.key: d for d in await registry.documents(tenant) if d.key.startswith(prefix)}
    return _bucket_differences(known, *await _listed(tenant, prefix, bucket), recipe, after_seconds)


async def verify(tenant: str, deps: IngestDependencies) -> list[Difference]:
    """Every difference between bucket, registry and store, by key. Raises UnavailableError while the registry is lost."""
    if not (await deps.registry.snapshot(tenant)).epoch:
        raise UnavailableError(f"The registry of {tenant!r} is not whole. Run `make rebuild` first.")
    documents = {document.key: document for document in await deps.registry.documents(tenant)}
    listed = await _listed(tenant, tenant_prefix(tenant), deps.bucket)
    found = _bucket_differences(documents, *listed, deps.recipe, ABANDONED_SECONDS)
    stored = await inventory_of(tenant, deps.store)
    for key in sorted(documents.keys() | stored.keys()):
        found += _store_differences(key, documents.get(key), stored.get(key, {}))
    return found


async def repair(found: list[Difference], deps: IngestDependencies) -> None:
    """Read anew what differs, through the queue where there is one, else here; delete what the store has too much."""
    for difference in found:
        for generation in difference.extra_generations:
            await deps.store.delete_generation(DocumentKey(difference.key), generation=generation)
        if difference.missing_chunks:
            await requeue(DocumentKey(difference.key), deps)
    keys = {difference.key for difference in found if not difference.extra_generations}
    await resync(sorted(keys), deps, queue=deps.queue)


async def _listed(tenant: str, prefix: str, bucket: Bucket) -> tuple[dict[str, str], dict[str, str]]:
    """ETags by document: of the files, and of their sidecars."""
    held: dict[str, str] = {}
    sidecars: dict[str, str] = {}
    async for version in bucket.objects(prefix):
        key = DocumentKey(version.key)
        if key.tenant != tenant:
            continue
        if key.is_document:
            held[version.key] = version.etag
        elif version.key.endswith(SIDECAR_SUFFIX):
            sidecars[key.labelled.key] = version.etag
    return held, sidecars


def _bucket_differences(
    known: Mapping[str, Document],
    held: Mapping[str, str],
    sidecars: Mapping[str, str],
    recipe: str,
    after_seconds: float,
) -> list[Difference]:
    """What the registry says otherwise than the bucket's listing, by key."""
    found = [Difference(key, "is in the registry, but no longer in the bucket") for key in known.keys() - held.keys()]
    for key, etag in held.items():
        why = _stale(known.get(key), etag, sidecars.get(key, ""), recipe, after_seconds)
        found += [Difference(key, why)] if why else []
    return sorted(found, key=lambda difference: difference.key)


def _stale(known: Document | None, etag: str, sidecar: str, recipe: str, after_seconds: float) -> str:
    """Why a record is not of what the bucket holds; empty when it is, or soon will be."""
    if known is None:
        return "is in the bucket, but not in the registry"
    if not known.state.is_final:
        abandoned = known.is_abandoned(time.time(), after_seconds=after_seconds)
        return f"is {known.state}, and no attempt works on it" if abandoned else ""
    if (known.etag, known.sidecar) != (etag, sidecar):
        return "has changed since it was read"
    if not known.pipeline:
        # Given up: `make redrive` tries it again.
        return ""
    return "was read by another version of the pipeline" if known.pipeline != recipe else ""


def _store_differences(
    key: str, document: Document | None, stored: Mapping[int, StoredGeneration]
) -> Iterator[Difference]:
    """What the store has too little or too much of."""
    current = document.generation if document else None
    if document is not None and current is not None:
        held = stored.get(current)
        if held is None or not held.has(document.chunks):
            count = len(held.indexes) if held else 0
            yield Difference(key, f"has {count} of its {document.chunks} chunks in the store", missing_chunks=True)
        elif document.pipeline and held.labels != {(document.groups, document.tags)}:
            yield Difference(key, "has chunks in the store with other groups or tags", missing_chunks=True)
    # Generations are numbered by the time, in microseconds: young ones may be on their way.
    before = (time.time() - ABANDONED_SECONDS) * 1e6
    kept = {current, document.draft if document else None}
    extra_generations = tuple(sorted(number for number in stored if number not in kept and number < before))
    if extra_generations:
        count = sum(len(stored[number].indexes) for number in extra_generations)
        yield Difference(
            key, f"has {count} chunks in the store that are of no current version", extra_generations=extra_generations
        )
