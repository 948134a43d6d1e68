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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from functions.ingest.chunk import TokenLimit, chunk_blocks
from functions.ingest.flip import flip
from functions.ingest.labels import known_to, look, narrowed, readers_of, sidecar_etag, tags_of
from functions.ingest.reuse import Reuse
from functions.ingest.write import WINDOW, OutOfTime, Pace, Report, Writer, Written
from headrace.errors import DocumentError, HeadraceError, SupersededError, UnavailableError
from headrace.messages import object_changed
from headrace.protocols import AnswerWatch, Bucket, ChatModel, DocumentRegistry, Embedder, Parser, Queue, VectorStore
from headrace.types import (
    NOBODY,
    Attempt,
    Chunk,
    Document,
    DocumentKey,
    DocumentState,
    ObjectVersion,
    ParsedFile,
    Step,
    tenant_prefix,
)

# Raise it when parsing or chunking changes, and documents are made anew.
PIPELINE_VERSION = "3"
# How long a first document's neighbours may have been there for their tenant to be new.
NEW_SECONDS = 900.0
HISTORY_STEPS = 20
PATIENCE_SECONDS = 240.0
LOOK_SECONDS = 0.5
TOO_LONG = "Reading the file takes longer than one invocation may. Split it into smaller files."


@dataclass(frozen=True, slots=True)
class IngestParts:
    """What the pipeline works with.

    `recipe` names how chunks are made: a document that was made otherwise is made anew. `context_model` writes what each
    chunk is about, if anything does. `watch` knows the cached answers that a new version puts an end to. `dead_letters_arn` is where messages come from that were given up. `window` is how
    many chunks are embedded and written at a time, and `clock`, in seconds, what tells whether there is time for another. An attempt
    that was overtaken waits `patience_seconds` for the other one.
    """

    bucket: Bucket
    parser: Parser
    embedder: Embedder
    store: VectorStore
    registry: DocumentRegistry
    max_document_bytes: int
    queue: Queue | None = None
    dead_letters_arn: str = "none"
    context_model: ChatModel | None = None
    watch: AnswerWatch | None = None
    recipe: str = PIPELINE_VERSION
    window: int = WINDOW
    clock: Callable[[], float] = time.monotonic
    patience_seconds: float = PATIENCE_SECONDS


async def synchronise(
    key: DocumentKey, parts: IngestParts, *, deadline_seconds: float | None = None, last_try: bool = False
) -> bool:
    """Make registry and store agree with the bucket about one document.

    False when another attempt has taken over, and is not done: whoever holds the message looks again, for that one may
    die.

    A document that can't be read ends as `failed`, with the reason. One that takes longer than the deadline goes on from
    where it stands with the next message, which is put into the queue. What else goes wrong is raised, so that it is
    tried again, after the record says so; on the last try it is left `failed`, with the old version searchable if there
    is one.
    """
    deadline = None if deadline_seconds is None else parts.clock() + deadline_seconds
    attempt = await parts.registry.begin(key, embedding_model=parts.embedder.model)
    try:
        async with asyncio.timeout(deadline_seconds):
            await _Attempt(attempt, parts, deadline).run()
    except SupersededError:
        await parts.store.discard(key, generation=attempt.number)
        return await _until_settled(key, parts, deadline)
    except TimeoutError as error:
        late = UnavailableError(TOO_LONG)
        await _record_delay(attempt, parts, str(late), last_try=last_try)
        raise late from error
    except Exception as error:
        known = isinstance(error, HeadraceError)
        reason = (
            str(error) if known else f"Something unforeseen went wrong ({type(error).__name__}); the log says more."
        )
        await _record_delay(attempt, parts, reason, last_try=last_try)
        raise
    return True


async def _until_settled(key: DocumentKey, parts: IngestParts, deadline: float | None) -> bool:
    """Wait for the attempt that has taken over: coming again while it is at work would only overtake it in turn."""
    waited_seconds = 0.0
    while not await _is_settled(key, parts):
        is_late = deadline is not None and parts.clock() >= deadline
        if is_late or waited_seconds >= parts.patience_seconds:
            return False
        await asyncio.sleep(LOOK_SECONDS)
        waited_seconds += LOOK_SECONDS
    return True


async def _is_settled(key: DocumentKey, parts: IngestParts) -> bool:
    """Whether the registry says of the document all there is to say."""
    known = await parts.registry.get(key)
    seen = await look(key, parts.bucket)
    if seen is None or known is None:
        return seen is None and known is None
    return is_current(known, seen, parts.recipe)


class _Attempt:
    """One attempt at one document."""

    def __init__(self, attempt: Attempt, parts: IngestParts, deadline: float | None) -> None:
        self._attempt = attempt
        self._key = attempt.key
        self._number = attempt.number
        self._parts = parts
        self._deadline = deadline
        self._history: tuple[Step, ...] = ()
        self._was_settled = False

    async def run(self) -> None:
        await open_tenant(self._key, self._parts)
        known = await self._parts.registry.get(self._key)
        self._was_settled = known is not None and bool(known.pipeline)
        seen = await look(self._key, self._parts.bucket)
        if seen is None:
            await self._forget()
        elif known and is_current(known, seen, self._parts.recipe):
            if known.state is DocumentState.READY and known.reason:
                # A reason why it was late, which it is no longer.
                await self._save(replace(known, reason=""))
            # What an attempt that died has left behind.
            await self._parts.store.retire(self._key, before=known.generation or self._number)
        else:
            await self._ingest(known, seen)

    async def _ingest(self, known: Document | None, seen: ObjectVersion) -> None:
        document = await self._save(_queued(seen, known))
        # Its generation was made from these very bytes: what is new can only be its labels.
        same = known is not None and (known.pipeline, known.etag) == (self._parts.recipe, seen.etag)
        try:
            if same and await self._relabel(document, seen):
                return
            async with _temporary_folder() as folder:
                await self._read(document, seen, folder / "document")
        except DocumentError as error:
            await self._fail(document, seen, str(error))

    async def _read(self, document: Document, seen: ObjectVersion, path: Path) -> None:
        parts = self._parts
        version = await parts.bucket.fetch(self._key.key, path, max_bytes=parts.max_document_bytes)
        if version is None:
            await self._forget()
            return
        version = replace(version, sidecar=seen.sidecar)
        document = replace(_queued(version, document), started_at=time.time())
        readers = readers_of(version)
        content = await asyncio.to_thread(_content, path, parts.recipe)
        if content == document.content and await self._relabel(document, version):
            return
        document = await self._save(replace(document, state=DocumentState.PARSING))
        parsed = await parts.parser.parse(path, name=Path(document.name).name, content_type=version.content_type)
        chunks = await asyncio.to_thread(self._chunks, parsed, version)
        if not chunks:
            raise DocumentError("No text was found in the file.")
        document = await self._save(replace(document, state=DocumentState.EMBEDDING, progress=0.0))
        new = replace(document, groups=readers, tags=tags_of(version), language=parsed.language, content=content)
        await self._write(document, new, chunks)

    def _chunks(self, parsed: ParsedFile, version: ObjectVersion) -> list[Chunk]:
        """Blocks the thread that it runs in: the tokenizer reads every chunk."""
        embedder = self._parts.embedder
        limit = TokenLimit(embedder.max_tokens, embedder.count_tokens)
        made = chunk_blocks(parsed.blocks, document_key=self._key.key, generation=self._number, limit=limit)
        readers, tags = readers_of(version), tags_of(version)
        return [
            replace(chunk, groups=readers, tags=tags, language=parsed.language, total=len(made), etag=version.etag)
            for chunk in made
        ]

    async def _write(self, document: Document, new: Document, chunks: list[Chunk]) -> None:
        """Write the chunks of `new`; what is done by the deadline becomes a draft, and is kept for the next message."""
        parts = self._parts
        reuse = Reuse(parts.store, self._key)
        # What another recipe made is not what this one would make.
        is_alike = document.generation is None or document.content.endswith(_suffix(parts.recipe))
        await reuse.add((document.generation, document.draft) if is_alike else ())

        async def report(progress: float, tokens: int, *, is_draft: bool) -> None:
            nonlocal document
            draft = self._number if is_draft else document.draft
            spent = new.context_tokens + tokens
            document = await self._save(replace(document, progress=progress, draft=draft, context_tokens=spent))

        writer = self._writer(parts.context_model, report)
        try:
            written = await writer.write(chunks, reuse)
        except OutOfTime:
            if parts.queue is None:
                raise UnavailableError(TOO_LONG) from None
            await parts.queue.send([object_changed(self._key.key)])
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
        reuse = Reuse(self._parts.store, self._key)
        found = await reuse.all(before)
        if len(found) != document.chunks:
            return False
        labels = {(chunk.groups, chunk.tags, chunk.etag) for chunk in found}
        done = replace(document, groups=readers, tags=tags)
        # An attempt in between may have left chunks of a later generation: then a new one is written, and all others go.
        if self._was_settled and labels == {(readers, tags, version.etag)}:
            await self._finish(done)
            return True
        chunks = [
            replace(chunk, generation=self._number, groups=readers, tags=tags, etag=version.etag) for chunk in found
        ]
        written = await self._writer(None, None).write(chunks, reuse)
        await self._finish(replace(done, generation=self._number), written)
        return True

    def _writer(self, context_model: ChatModel | None, report: Report | None) -> Writer:
        parts = self._parts
        pace = Pace(parts.clock, deadline=self._deadline if report else None, window=parts.window)
        return Writer(parts.embedder, parts.store, context_model, pace=pace, report=report)

    async def _finish(self, document: Document, written: Written | None = None) -> None:
        """Make the document current, with what was written for it; nothing when its chunks are what they were."""
        ready = replace(document, state=DocumentState.READY, reason="", pipeline=self._parts.recipe)
        done = self._told(replace(ready, draft=None, progress=None, ready_at=time.time()))
        registry, watch = self._parts.registry, self._parts.watch
        await flip(done, self._attempt, written or Written(), registry=registry, watch=watch)
        await self._parts.store.retire(self._key, before=document.generation or self._number)

    async def _fail(self, document: Document, version: ObjectVersion, reason: str) -> None:
        # The old version is not the file any longer: nothing of it may be quoted.
        nothing = replace(document, chunks=0, generation=None, content="", draft=None, progress=None)
        failed = replace(nothing, state=DocumentState.FAILED, reason=reason, groups=known_to(version))
        await self._save(replace(failed, tags=tags_of(version), pipeline=self._parts.recipe))
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

    async def _save(self, document: Document) -> Document:
        document = self._told(document)
        await self._parts.registry.save(document, self._attempt)
        return document

    def _told(self, document: Document) -> Document:
        """The document with all of its history."""
        document = with_history(replace(document, updated_at=time.time(), history=self._history or document.history))
        self._history = document.history
        return document


def with_history(document: Document) -> Document:
    """The document with its present state in its history, if that is news."""
    now = document.updated_at or time.time()
    *_, last = (None, *document.history)
    if last is not None and (last.state, last.reason) == (document.state, document.reason):
        return document
    steps = (*document.history, Step(now, document.state, document.reason))
    return replace(document, history=steps[-HISTORY_STEPS:])


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
                late = replace(document, state=DocumentState.FAILED, reason=said, progress=None)
            case _:
                late = replace(document, state=DocumentState.QUEUED, reason=said)
        await parts.registry.save(with_history(replace(late, updated_at=time.time())), attempt)
    except (SupersededError, UnavailableError):
        return


@asynccontextmanager
async def _temporary_folder() -> AsyncIterator[Path]:
    folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="headrace-")
    try:
        yield Path(folder.name)
    finally:
        await asyncio.to_thread(folder.cleanup)


def is_current(known: Document, seen: ObjectVersion, recipe: str) -> bool:
    """Whether a record says all there is to say of an object version."""
    settled = (known.pipeline, known.etag, known.sidecar, known.groups, known.tags)
    return settled == (recipe, seen.etag, sidecar_etag(seen), known_to(seen), tags_of(seen))


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
