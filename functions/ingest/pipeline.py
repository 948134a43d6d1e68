"""The pipeline: bring one document in line with what the bucket holds now.

The steps are ordered so that a search never sees half a document: write the
new chunks, flip the registry, delete the old chunks. Each step may be repeated.
An attempt begins before it looks at the bucket, and only the newest attempt may
write; so the last one to write has seen the newest version.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from functions.ingest.bounds import bounded
from functions.ingest.chunk import TokenLimit, chunk_blocks
from functions.ingest.delays import record_delay
from functions.ingest.dependencies import IngestDependencies
from functions.ingest.flip import flip
from functions.ingest.history import with_history
from functions.ingest.labels import known_to, narrowed, observe, readers_of, sidecar_etag, tags_of
from functions.ingest.metrics import tell
from functions.ingest.reuse import Reuse
from functions.ingest.tenants import open_tenant
from functions.ingest.write import OutOfTime, Pace, Report, Writer, Written
from headrace.errors import DocumentError, HeadraceError, SupersededError, UnavailableError
from headrace.protocols import ChatModel
from headrace.queues.messages import object_changed
from headrace.types import (
    Attempt,
    Chunk,
    Document,
    DocumentKey,
    DocumentState,
    ObjectVersion,
    ParsedFile,
    Step,
)

POLL_SECONDS = 0.5
TAKEN = (
    "A file was uploaded under this document's name with a form that replaces nothing, and was not read. Delete that version "
    "in the bucket, or upload it again with `replace: true`."
)
TOO_LONG = "Reading the file takes longer than one invocation may. Split it into smaller files."


async def synchronise(
    key: DocumentKey, deps: IngestDependencies, *, deadline_seconds: float | None = None, last_try: bool = False
) -> bool:
    """Make registry and store agree with the bucket about one document.

    Returns False when another attempt has taken over and is not done: the message has to come again, for that attempt
    may die.

    A document that can't be read ends as `failed`, with the reason. One that takes longer than the deadline goes on from
    where it stands with the next message, which is put into the queue. What else goes wrong is raised, so that it is
    tried again, after the record says so; on the last try it is left `failed`, with the old version searchable if there
    is one.
    """
    deadline = None if deadline_seconds is None else deps.clock() + deadline_seconds
    attempt = await deps.registry.begin(key, embedding_model=deps.embedder.model)
    try:
        async with asyncio.timeout(deadline_seconds):
            await _Attempt(attempt, deps, deadline).run()
    except SupersededError:
        await deps.store.delete_generation(key, generation=attempt.number)
        return await _wait_until_final(key, deps, deadline)
    except TimeoutError as error:
        late = UnavailableError(TOO_LONG)
        await record_delay(attempt, deps, str(late), last_try=last_try)
        raise late from error
    except Exception as error:
        known = isinstance(error, HeadraceError)
        reason = (
            str(error) if known else f"Something unforeseen went wrong ({type(error).__name__}); the log says more."
        )
        await record_delay(attempt, deps, reason, last_try=last_try)
        raise
    return True


async def _wait_until_final(key: DocumentKey, deps: IngestDependencies, deadline: float | None) -> bool:
    """Wait for the attempt that has taken over: another one now would only overtake it in turn."""
    waited_seconds = 0.0
    while not await _is_final(key, deps):
        is_late = deadline is not None and deps.clock() >= deadline
        if is_late or waited_seconds >= deps.wait_seconds:
            return False
        await asyncio.sleep(POLL_SECONDS)
        waited_seconds += POLL_SECONDS
    return True


async def _is_final(key: DocumentKey, deps: IngestDependencies) -> bool:
    """Whether the registry has the document as the bucket has it."""
    known = await deps.registry.get(key)
    seen = await observe(key, deps.bucket)
    if seen is None or known is None:
        return seen is None and known is None
    return is_current(known, seen, deps.recipe)


class _Attempt:
    """One attempt at one document."""

    def __init__(self, attempt: Attempt, deps: IngestDependencies, deadline: float | None) -> None:
        self._attempt = attempt
        self._key = attempt.key
        self._number = attempt.number
        self._deps = deps
        self._deadline = deadline
        self._history: tuple[Step, ...] = ()
        self._was_final = False
        self._began = deps.clock()

    async def run(self) -> None:
        await open_tenant(self._key, self._deps)
        known = await self._deps.registry.get(self._key)
        self._was_final = known is not None and bool(known.pipeline)
        seen = await observe(self._key, self._deps.bucket)
        if seen is None:
            await self._forget()
        elif known and is_current(known, seen, self._deps.recipe):
            if known.state is DocumentState.READY and known.reason:
                # The reason why it was late holds no longer.
                await self._save(replace(known, reason=""))
            # An attempt that died may have left chunks behind.
            await self._deps.store.delete_older(self._key, before=known.generation or self._number)
        elif known and known.generation is not None and seen.replaces_nothing and known.etag != seen.etag:
            # Who uploaded it may not even know of the document that is here.
            await self._save(replace(known, reason=TAKEN))
        else:
            await self._ingest(known, seen)

    async def _ingest(self, known: Document | None, seen: ObjectVersion) -> None:
        document = await self._save(_queued(seen, known))
        # Its generation was made from these very bytes: what is new can only be its labels.
        same = known is not None and (known.pipeline, known.etag) == (self._deps.recipe, seen.etag)
        try:
            if same and await self._relabel(document, seen):
                return
            async with _temporary_folder() as folder:
                await self._read(document, seen, folder / "document")
        except DocumentError as error:
            await self._fail(document, seen, str(error))

    async def _read(self, document: Document, seen: ObjectVersion, path: Path) -> None:
        deps = self._deps
        version = await deps.bucket.fetch(self._key.key, path, max_bytes=deps.max_document_bytes)
        if version is None:
            await self._forget()
            return
        version = replace(version, sidecar=seen.sidecar)
        document = replace(_queued(version, document), started_at=time.time())
        readers = readers_of(version)
        content = await asyncio.to_thread(_content, path, deps.recipe)
        if content == document.content and await self._relabel(document, version):
            return
        document = await self._save(replace(document, state=DocumentState.PARSING))
        parsed = bounded(
            await deps.parser.parse(path, name=Path(document.name).name, content_type=version.content_type)
        )
        chunks = await asyncio.to_thread(self._chunks, parsed, version)
        if not chunks:
            raise DocumentError("No text was found in the file.")
        document = await self._save(replace(document, state=DocumentState.EMBEDDING, progress=0.0))
        new = replace(
            document,
            groups=readers,
            tags=tags_of(version),
            language=parsed.language,
            content=content,
            notes=parsed.notes,
        )
        await self._write(document, new, chunks)

    def _chunks(self, parsed: ParsedFile, version: ObjectVersion) -> list[Chunk]:
        """Blocks the thread that it runs in: the tokenizer reads every chunk."""
        embedder = self._deps.embedder
        limit = TokenLimit(embedder.max_tokens, embedder.count_tokens)
        made = chunk_blocks(parsed.blocks, document_key=self._key.key, generation=self._number, limit=limit)
        readers, tags = readers_of(version), tags_of(version)
        return [
            replace(chunk, groups=readers, tags=tags, language=parsed.language, total=len(made), etag=version.etag)
            for chunk in made
        ]

    async def _write(self, document: Document, new: Document, chunks: list[Chunk]) -> None:
        """Write the chunks of `new`; what is done by the deadline becomes a draft, and is kept for the next message."""
        deps = self._deps
        reuse = Reuse(deps.store, self._key)
        # What another recipe made is not what this one would make.
        is_alike = document.generation is None or document.content.endswith(_suffix(deps.recipe))
        await reuse.add((document.generation, document.draft) if is_alike else ())

        async def report(progress: float, tokens: int, *, is_draft: bool) -> None:
            nonlocal document
            draft = self._number if is_draft else document.draft
            spent = new.context_tokens + tokens
            document = await self._save(replace(document, progress=progress, draft=draft, context_tokens=spent))

        writer = self._writer(deps.context_model, report)
        try:
            written = await writer.write(chunks, reuse)
        except OutOfTime:
            if deps.queue is None:
                raise UnavailableError(TOO_LONG) from None
            await deps.queue.send([object_changed(self._key.key)])
            return
        spent = new.context_tokens + written.tokens
        done = replace(new, chunks=len(chunks), generation=self._number, context_tokens=spent)
        await self._finish(done, written)

    async def _relabel(self, document: Document, version: ObjectVersion) -> bool:
        """Give the same content its new labels, with the embeddings that it has. False when the store has not all of it."""
        readers, tags = readers_of(version), tags_of(version)
        before = document.generation
        if before is None:
            return False
        reuse = Reuse(self._deps.store, self._key)
        found = await reuse.all(before)
        if len(found) != document.chunks:
            return False
        labels = {(chunk.groups, chunk.tags, chunk.etag) for chunk in found}
        done = replace(document, groups=readers, tags=tags)
        # An attempt in between may have left chunks of a later generation: then a new one is written, and all others go.
        if self._was_final and labels == {(readers, tags, version.etag)}:
            await self._finish(done)
            return True
        chunks = [
            replace(chunk, generation=self._number, groups=readers, tags=tags, etag=version.etag) for chunk in found
        ]
        written = await self._writer(None, None).write(chunks, reuse)
        await self._finish(replace(done, generation=self._number), written)
        return True

    def _writer(self, context_model: ChatModel | None, report: Report | None) -> Writer:
        deps = self._deps
        pace = Pace(deps.clock, deadline=self._deadline if report else None, window=deps.window)
        return Writer(deps.embedder, deps.store, context_model, pace=pace, report=report)

    async def _finish(self, document: Document, written: Written | None = None) -> None:
        """Make the document current, with what was written for it; nothing when its chunks are what they were."""
        ready = replace(document, state=DocumentState.READY, reason="", pipeline=self._deps.recipe)
        done = self._with_history(replace(ready, draft=None, progress=None, ready_at=time.time()))
        registry, planner = self._deps.registry, self._deps.planner
        await flip(done, self._attempt, written or Written(), registry=registry, planner=planner)
        if written is not None:
            tell(self._deps.report, DocumentState.READY, self._deps.clock() - self._began)
        await self._deps.store.delete_older(self._key, before=document.generation or self._number)

    async def _fail(self, document: Document, version: ObjectVersion, reason: str) -> None:
        # The old version is not the file any longer: nothing of it may be quoted.
        nothing = replace(document, chunks=0, generation=None, content="", draft=None, progress=None, notes=())
        failed = replace(nothing, state=DocumentState.FAILED, reason=reason, groups=known_to(version))
        await self._save(replace(failed, tags=tags_of(version), pipeline=self._deps.recipe))
        tell(self._deps.report, DocumentState.FAILED, self._deps.clock() - self._began)
        await self._deps.store.delete_older(self._key, before=self._number + 1)

    async def _forget(self) -> None:
        try:
            await self._deps.registry.remove(self._attempt)
        except SupersededError:
            # A removal whose reply was lost, and that was sent again, is told so, too.
            if await self._deps.registry.get(self._key) is None:
                await self._deps.store.delete_older(self._key, before=self._number)
            raise
        await self._deps.store.delete_older(self._key, before=self._number + 1)

    async def _save(self, document: Document) -> Document:
        document = self._with_history(document)
        await self._deps.registry.save(document, self._attempt)
        return document

    def _with_history(self, document: Document) -> Document:
        """The document with this attempt's history."""
        document = with_history(replace(document, updated_at=time.time(), history=self._history or document.history))
        self._history = document.history
        return document


@asynccontextmanager
async def _temporary_folder() -> AsyncIterator[Path]:
    folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="headrace-")
    try:
        yield Path(folder.name)
    finally:
        await asyncio.to_thread(folder.cleanup)


def is_current(known: Document, seen: ObjectVersion, recipe: str) -> bool:
    """Whether a record is of this object version, made by this recipe, for these readers and tags."""
    fresh = (known.pipeline, known.etag, known.sidecar, known.groups, known.tags)
    return fresh == (recipe, seen.etag, sidecar_etag(seen), known_to(seen), tags_of(seen))


def _queued(version: ObjectVersion, known: Document | None) -> Document:
    shown = known or Document(version.key, DocumentState.QUEUED)
    queued = replace(
        shown,
        state=DocumentState.QUEUED,
        reason="",
        size_bytes=version.size_bytes,
        etag=version.etag,
        version_id=version.version_id,
        sidecar=sidecar_etag(version),
        pipeline="",
        uploaded_at=version.modified_at,
        ready_at=None,
    )
    return narrowed(queued, known_to(version))


def _content(path: Path, recipe: str) -> str:
    """Names what chunks are made from, and how: the bytes and the recipe."""
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{content[:32]}{_suffix(recipe)}"


def _suffix(recipe: str) -> str:
    return f"-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"
