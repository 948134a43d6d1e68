"""Writes a document's chunks into the store, window by window, within the time that there is."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from functions.ingest.contexts import with_contexts
from functions.ingest.reuse import Reuse
from headrace.protocols import ChatModel, Embedder, VectorStore
from headrace.types import Chunk, EmbeddedChunk

# How many chunks are embedded and written at a time: a few of the embedder's batches, so that they run at once.
WINDOW = 256
# A window may take longer than the slowest one so far.
MARGIN = 1.5
REPORT_SECONDS = 1.0


class OutOfTime(Exception):  # noqa: N818 - no fault
    """The time is up; what was written is a draft that the next attempt takes over."""


class Report(Protocol):
    """Is told what has been written: the share of it from 0 to 1, and a language model's tokens."""

    async def __call__(self, progress: float, tokens: int, *, is_draft: bool) -> None:
        """`is_draft` when the generation holds more than what it took over from others."""


@dataclass(slots=True)
class Written:
    """What was written, the watermark from which searches see it, and a language model's tokens for it."""

    watermark: int = 0
    tokens: int = 0
    chunks: list[EmbeddedChunk] = field(default_factory=list)


@dataclass(slots=True)
class Pace:
    """How many chunks are written at a time, and the deadline by this clock; None: no limit."""

    clock: Callable[[], float]
    deadline: float | None
    window: int = WINDOW
    slowest_seconds: float = 0.0

    def is_late(self, now: float) -> bool:
        """Whether another window might not end in time."""
        return self.deadline is not None and now + MARGIN * self.slowest_seconds > self.deadline


class Writer:
    """Writes one generation."""

    def __init__(
        self,
        embedder: Embedder,
        store: VectorStore,
        context_model: ChatModel | None,
        *,
        pace: Pace,
        report: Report | None,
    ) -> None:
        self._embedder = embedder
        self._store = store
        self._context_model = context_model
        self._pace = pace
        self._report = report
        self._reported_at = 0.0

    async def write(self, chunks: Sequence[Chunk], reuse: Reuse) -> Written:
        """Write all of the document's chunks, with the embeddings that it has already where it can.

        Raises OutOfTime when a window may not end before the deadline, but never before one has been embedded: each
        invocation gets further than the last one.
        """
        pace, written = self._pace, Written()
        is_draft = False
        for start in range(0, len(chunks), pace.window):
            done = min(start + pace.window, len(chunks))
            started = pace.clock()
            is_draft |= await self._write_window(chunks[start:done], chunks, reuse, written)
            pace.slowest_seconds = max(pace.slowest_seconds, pace.clock() - started)
            if done < len(chunks):
                await self._pause(done / len(chunks), written, is_draft=is_draft)
        return written

    async def _pause(self, progress: float, written: Written, *, is_draft: bool) -> None:
        now = self._pace.clock()
        is_late = is_draft and self._pace.is_late(now)
        if self._report is not None and (is_late or now - self._reported_at >= REPORT_SECONDS):
            self._reported_at = now
            await self._report(progress, written.tokens, is_draft=is_draft)
        if is_late:
            raise OutOfTime

    async def _write_window(
        self, window: Sequence[Chunk], document: Sequence[Chunk], reuse: Reuse, written: Written
    ) -> bool:
        """True when something had to be embedded."""
        ready = await reuse.take(window)
        new = [chunk for chunk, old in zip(window, ready, strict=True) if old is None]
        if self._context_model is not None and new:
            contexts = await with_contexts(new, document, self._context_model)
            new, written.tokens = contexts.chunks, written.tokens + contexts.tokens
        vectors = await self._embedder.embed([chunk.text_to_embed for chunk in new]) if new else []
        fresh = map(EmbeddedChunk, new, vectors)
        embedded = [old or next(fresh) for old in ready]
        await self._store.ensure(len(embedded[0].vector))
        written.watermark = max(written.watermark, await self._store.upsert(embedded))
        # Kept for the flip, in an eighth of the room.
        written.chunks += [EmbeddedChunk(each.chunk, array("f", each.vector)) for each in embedded]
        return bool(new)
