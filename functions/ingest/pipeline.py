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
from headrace.errors import DocumentError, HeadraceError, SupersededError, UnavailableError
from headrace.protocols import Bucket, DocumentRegistry, Embedder, Parser, VectorStore
from headrace.types import Chunk, Document, DocumentKey, DocumentState, EmbeddedChunk, ObjectVersion

# Raise it when parsing or chunking changes, and documents are made anew.
PIPELINE_VERSION = "1"
# How many chunks are embedded and written at a time: a few of the embedder's batches, so that they run at once.
EMBED_WINDOW = 256


@dataclass(frozen=True, slots=True)
class IngestParts:
    """What the pipeline works with."""

    bucket: Bucket
    parser: Parser
    embedder: Embedder
    store: VectorStore
    registry: DocumentRegistry
    max_document_bytes: int


async def synchronise(
    key: DocumentKey, parts: IngestParts, *, deadline_seconds: float | None = None, last_try: bool = False
) -> None:
    """Make registry and store agree with the bucket about one document.

    A document that can't be read ends as `failed`, with the reason. What else
    goes wrong is raised, so that it is tried again, after the record says so;
    on the last try a document of which nothing is searchable is left `failed`.
    """
    attempt = await parts.registry.begin(key)
    try:
        async with asyncio.timeout(deadline_seconds):
            await _Attempt(key, attempt, parts).run()
    except SupersededError:
        await parts.store.discard(key, generation=attempt)
    except TimeoutError as error:
        late = UnavailableError("Reading the file takes longer than one invocation may. Split it into smaller files.")
        await _record_delay(key, attempt, parts, str(late), last_try=last_try)
        raise late from error
    except Exception as error:
        known = isinstance(error, HeadraceError)
        reason = (
            str(error) if known else f"Something unforeseen went wrong ({type(error).__name__}); the log says more."
        )
        await _record_delay(key, attempt, parts, reason, last_try=last_try)
        raise


class _Attempt:
    """One attempt. Its number is also the generation of the chunks that it writes."""

    def __init__(self, key: DocumentKey, number: int, parts: IngestParts) -> None:
        self._key = key
        self._number = number
        self._parts = parts

    async def run(self) -> None:
        known = await self._parts.registry.get(self._key)
        seen = await self._parts.bucket.head(self._key.key)
        if seen is None:
            await self._forget()
        elif known and _is_current(known, seen, self._parts.embedder.model):
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
        content = await asyncio.to_thread(_content, path, parts.embedder.model)
        if document.generation is not None and content == document.content:
            await self._finish(document)
            return
        document = await self._save(replace(document, state=DocumentState.PARSING))
        blocks = await parts.parser.parse(path, name=Path(document.name).name, content_type=version.content_type)
        chunks = chunk_blocks(blocks, document_key=document.key, generation=self._number)
        if not chunks:
            raise DocumentError("No text was found in the file.")
        document = await self._save(replace(document, state=DocumentState.EMBEDDING))
        await self._embed(chunks)
        await self._finish(replace(document, chunks=len(chunks), generation=self._number, content=content))

    async def _embed(self, chunks: Sequence[Chunk]) -> None:
        for start in range(0, len(chunks), EMBED_WINDOW):
            batch = chunks[start : start + EMBED_WINDOW]
            vectors = await self._parts.embedder.embed([chunk.text_to_embed for chunk in batch])
            await self._parts.store.ensure(len(vectors[0]))
            await self._parts.store.upsert([EmbeddedChunk(c, v) for c, v in zip(batch, vectors, strict=True)])

    async def _finish(self, document: Document) -> None:
        model = self._parts.embedder.model
        ready = replace(document, state=DocumentState.READY, reason="", embedding_model=model, ready_at=time.time())
        await self._save(ready)
        await self._parts.store.retire(self._key, before=document.generation or self._number)

    async def _fail(self, document: Document, reason: str) -> None:
        # The old version is not the file any longer: nothing of it may be quoted.
        failed = replace(document, state=DocumentState.FAILED, reason=reason, chunks=0, generation=None)
        await self._save(replace(failed, embedding_model=self._parts.embedder.model))
        await self._parts.store.retire(self._key, before=self._number + 1)

    async def _forget(self) -> None:
        await self._parts.registry.remove(self._key, attempt=self._number)
        await self._parts.store.retire(self._key, before=self._number + 1)

    async def _save(self, document: Document) -> Document:
        document = replace(document, updated_at=time.time())
        await self._parts.registry.save(document, attempt=self._number)
        return document


async def _record_delay(key: DocumentKey, attempt: int, parts: IngestParts, reason: str, *, last_try: bool) -> None:
    """Say in the document's record why it is late; if even that can't be said, the retry still comes."""
    said = f"Given up after several tries: {reason}" if last_try else f"{reason} It will be tried again by itself."
    try:
        document = await parts.registry.get(key) or Document(key.key, DocumentState.QUEUED)
        match document.state:
            case DocumentState.FAILED:
                return
            case DocumentState.READY:
                # What is searchable is an older version, or the same: it stays, and the reason stands beside it.
                late = replace(document, reason=said)
            case _ if last_try:
                late = replace(document, state=DocumentState.FAILED, reason=said, generation=None)
            case _:
                late = replace(document, state=DocumentState.QUEUED, reason=said)
        await parts.registry.save(replace(late, updated_at=time.time()), attempt=attempt)
    except (SupersededError, UnavailableError):
        return


@asynccontextmanager
async def _temporary_folder() -> AsyncIterator[Path]:
    folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="headrace-")
    try:
        yield Path(folder.name)
    finally:
        await asyncio.to_thread(folder.cleanup)


def _is_current(known: Document, seen: ObjectVersion, embedding_model: str) -> bool:
    done = known.state in {DocumentState.READY, DocumentState.FAILED}
    return done and known.etag == seen.etag and known.embedding_model == embedding_model


def _queued(version: ObjectVersion, known: Document | None) -> Document:
    return Document(
        key=version.key,
        state=DocumentState.QUEUED,
        size_bytes=version.size_bytes,
        chunks=known.chunks if known else 0,
        generation=known.generation if known else None,
        content=known.content if known else "",
        etag=version.etag,
        version_id=version.version_id,
        uploaded_at=version.modified_at,
    )


def _content(path: Path, embedding_model: str) -> str:
    """Names what chunks are made from, and how: the bytes, the embedding model and the pipeline."""
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    makers = hashlib.sha256(f"{PIPELINE_VERSION}\x1f{embedding_model}".encode()).hexdigest()
    return f"{content[:32]}-{makers[:8]}"
