"""The pipeline: bring one document in line with what the bucket holds now.

The steps are ordered so that a search never sees half a document: write the
new chunks, flip the registry, retire the old chunks. Each step may be repeated.
An attempt begins before it looks at the bucket, and only the newest attempt may
write; so the last one to write has seen the newest version.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from functions.ingest.chunk import chunk_blocks
from functions.ingest.readers import known_to, narrowed, readers_of
from headrace.errors import DocumentError, HeadraceError, SupersededError, UnavailableError
from headrace.protocols import Bucket, DocumentRegistry, Embedder, Parser, Queue, VectorStore
from headrace.types import (
    NOBODY,
    Attempt,
    Chunk,
    Document,
    DocumentKey,
    DocumentState,
    EmbeddedChunk,
    ObjectVersion,
    tenant_prefix,
)

# Raise it when parsing or chunking changes, and documents are made anew.
PIPELINE_VERSION = "2"
# How many chunks are embedded and written at a time: a few of the embedder's batches, so that they run at once.
EMBED_WINDOW = 256
# How long a first document's neighbours may have been there for their tenant to be new.
NEW_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class IngestParts:
    """What the pipeline works with. `dead_letters_arn` is where messages come from that were given up."""

    bucket: Bucket
    parser: Parser
    embedder: Embedder
    store: VectorStore
    registry: DocumentRegistry
    max_document_bytes: int
    queue: Queue | None = None
    dead_letters_arn: str = "none"


async def synchronise(
    key: DocumentKey, parts: IngestParts, *, deadline_seconds: float | None = None, last_try: bool = False
) -> None:
    """Make registry and store agree with the bucket about one document.

    A document that can't be read ends as `failed`, with the reason. What else
    goes wrong is raised, so that it is tried again, after the record says so; on the last try it is left `failed`,
    with the old version searchable if there is one.
    """
    attempt = await parts.registry.begin(key, embedding_model=parts.embedder.model)
    try:
        async with asyncio.timeout(deadline_seconds):
            await _Attempt(attempt, parts).run()
    except SupersededError:
        await parts.store.discard(key, generation=attempt.number)
    except TimeoutError as error:
        late = UnavailableError("Reading the file takes longer than one invocation may. Split it into smaller files.")
        await _record_delay(attempt, parts, str(late), last_try=last_try)
        raise late from error
    except Exception as error:
        known = isinstance(error, HeadraceError)
        reason = (
            str(error) if known else f"Something unforeseen went wrong ({type(error).__name__}); the log says more."
        )
        await _record_delay(attempt, parts, reason, last_try=last_try)
        raise


class _Attempt:
    """One attempt at one document."""

    def __init__(self, attempt: Attempt, parts: IngestParts) -> None:
        self._attempt = attempt
        self._key = attempt.key
        self._number = attempt.number
        self._parts = parts

    async def run(self) -> None:
        await open_tenant(self._key, self._parts)
        known = await self._parts.registry.get(self._key)
        seen = await self._parts.bucket.head(self._key.key)
        if seen is None:
            await self._forget()
        elif known and is_current(known, seen):
            # What an attempt that died has left behind.
            await self._parts.store.retire(self._key, before=known.generation or self._number)
        else:
            await self._ingest(await self._save(_queued(seen, known)))

    async def _ingest(self, document: Document) -> None:
        async with _temporary_folder() as folder:
            try:
                await self._read(document, folder / "document")
            except DocumentError as error:
                await self._fail(document, str(error))

    async def _read(self, document: Document, path: Path) -> None:
        parts = self._parts
        version = await parts.bucket.fetch(self._key.key, path, max_bytes=parts.max_document_bytes)
        if version is None:
            await self._forget()
            return
        document = replace(_queued(version, document), started_at=time.time())
        readers = readers_of(version)
        content = await asyncio.to_thread(_content, path, readers)
        if document.generation is not None and content == document.content:
            await self._finish(replace(document, groups=readers))
            return
        document = await self._save(replace(document, state=DocumentState.PARSING))
        blocks = await parts.parser.parse(path, name=Path(document.name).name, content_type=version.content_type)
        chunks = chunk_blocks(blocks, document_key=document.key, generation=self._number)
        if not chunks:
            raise DocumentError("No text was found in the file.")
        chunks = [replace(chunk, groups=readers, total=len(chunks), etag=version.etag) for chunk in chunks]
        document = await self._save(replace(document, state=DocumentState.EMBEDDING))
        mark = await self._embed(chunks)
        new = replace(document, chunks=len(chunks), generation=self._number, content=content, groups=readers)
        await self._finish(new, mark=mark)

    async def _embed(self, chunks: Sequence[Chunk]) -> int:
        mark = 0
        for start in range(0, len(chunks), EMBED_WINDOW):
            batch = chunks[start : start + EMBED_WINDOW]
            vectors = await self._parts.embedder.embed([chunk.text_to_embed for chunk in batch])
            await self._parts.store.ensure(len(vectors[0]))
            written = await self._parts.store.upsert([EmbeddedChunk(c, v) for c, v in zip(batch, vectors, strict=True)])
            mark = max(mark, written)
        return mark

    async def _finish(self, document: Document, *, mark: int = 0) -> None:
        ready = replace(document, state=DocumentState.READY, reason="", pipeline=PIPELINE_VERSION)
        await self._save(replace(ready, ready_at=time.time()), mark=mark)
        await self._parts.store.retire(self._key, before=document.generation or self._number)

    async def _fail(self, document: Document, reason: str) -> None:
        # The old version is not the file any longer: nothing of it may be quoted.
        failed = replace(document, state=DocumentState.FAILED, reason=reason, chunks=0, generation=None)
        await self._save(replace(failed, pipeline=PIPELINE_VERSION))
        await self._parts.store.retire(self._key, before=self._number + 1)

    async def _forget(self) -> None:
        try:
            await self._parts.registry.remove(self._attempt)
        except SupersededError:
            # A removal whose reply was lost, and that was sent again, is told so, too.
            if await self._parts.registry.get(self._key) is None:
                await self._parts.store.retire(self._key, before=self._number)
            raise
        await self._parts.store.retire(self._key, before=self._number + 1)

    async def _save(self, document: Document, *, mark: int = 0) -> Document:
        document = replace(document, updated_at=time.time())
        await self._parts.registry.save(document, self._attempt, mark=mark)
        return document


async def open_tenant(key: DocumentKey, parts: IngestParts) -> None:
    """Begin the registry of a tenant who is new. One that was lost is not whole until it is rebuilt.

    New is who has no chunks, and no other object that has been there for long: registry and store may be lost together.
    """
    tenant = key.tenant
    if (await parts.registry.standing(tenant)).epoch or await parts.store.count(tenant):
        return
    async for version in documents_in_bucket(tenant, parts):
        if version.key != key.key and version.modified_at < time.time() - NEW_SECONDS:
            return
    await parts.registry.open_epoch(tenant)


async def documents_in_bucket(tenant: str, parts: IngestParts) -> AsyncIterator[ObjectVersion]:
    """The newest version of each document that the tenant has in the bucket."""
    async for version in parts.bucket.objects(tenant_prefix(tenant)):
        key = DocumentKey(version.key)
        if key.is_document and key.tenant == tenant:
            yield version


async def _record_delay(attempt: Attempt, parts: IngestParts, reason: str, *, last_try: bool) -> None:
    """Say in the document's record why it is late; if even that can't be said, the retry still comes."""
    said = f"Given up after several tries: {reason}" if last_try else f"{reason} It will be tried again by itself."
    try:
        unknown = Document(attempt.key.key, DocumentState.QUEUED, groups=NOBODY)
        document = await parts.registry.get(attempt.key) or unknown
        match document.state:
            case DocumentState.FAILED:
                return
            case DocumentState.READY:
                # What is searchable is an older version, or the same: it stays, and the reason stands beside it.
                late = replace(document, reason=said)
            case _ if last_try:
                late = replace(document, state=DocumentState.FAILED, reason=said)
            case _:
                late = replace(document, state=DocumentState.QUEUED, reason=said)
        await parts.registry.save(replace(late, updated_at=time.time()), attempt)
    except (SupersededError, UnavailableError):
        return


@asynccontextmanager
async def _temporary_folder() -> AsyncIterator[Path]:
    folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="headrace-")
    try:
        yield Path(folder.name)
    finally:
        await asyncio.to_thread(folder.cleanup)


def is_current(known: Document, seen: ObjectVersion) -> bool:
    """Whether a record says all there is to say of an object version."""
    return (known.pipeline, known.etag, known.groups) == (PIPELINE_VERSION, seen.etag, known_to(seen))


def _queued(version: ObjectVersion, known: Document | None) -> Document:
    shown = known or Document(version.key, DocumentState.QUEUED)
    queued = Document(
        key=version.key,
        state=DocumentState.QUEUED,
        size_bytes=version.size_bytes,
        chunks=shown.chunks,
        generation=shown.generation,
        content=shown.content,
        etag=version.etag,
        version_id=version.version_id,
        groups=shown.groups,
        uploaded_at=version.modified_at,
    )
    return narrowed(queued, known_to(version))


def _content(path: Path, readers: Sequence[str]) -> str:
    """Names what chunks are made from, and how: the bytes, who may see them, and the pipeline."""
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    makers = hashlib.sha256("\x1f".join((PIPELINE_VERSION, *readers)).encode()).hexdigest()
    return f"{content[:32]}-{makers[:8]}"
