"""Citations within an answer's text, for clients that drop what they don't know beside it."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.answering.citations import MarkerScanner, marked_numbers
from headrace.types import AnswerEvent, Chunk, CitationEvent, DoneEvent, PassagesEvent, Stage, StatusEvent, TokenEvent


class InBandCitations:
    """Passes an answer's events on. `footer` ends the text with what each `[n]` names; `inline` names it in its place."""

    def __init__(self, form: str) -> None:
        self._form = form
        self._scanner = MarkerScanner()
        self._chunks: list[Chunk] = []
        self._cited: list[CitationEvent] = []

    def feed(self, event: AnswerEvent) -> Iterator[AnswerEvent]:
        """The event as the client gets it, and what comes before it."""
        match event:
            case PassagesEvent(passages):
                self._chunks = [passage.chunk for passage in passages]
            case StatusEvent(Stage.RESTARTED):
                self._scanner = MarkerScanner()
                self._cited.clear()
            case CitationEvent():
                self._cited.append(event)
            case TokenEvent(text) if self._form == "inline":
                yield TokenEvent("".join(self._named(text)))
                return
            case DoneEvent() if self._form == "footer" and self._cited:
                yield TokenEvent("\n\n" + "\n".join(map(_line, self._cited)))
        yield event

    def _named(self, text: str) -> Iterator[str]:
        for piece, is_marker in self._scanner.pieces(text):
            numbers = [n for n in marked_numbers(piece) if 1 <= n <= len(self._chunks)] if is_marker else []
            yield "".join(f"({_source(self._chunks[n - 1])})" for n in numbers) or piece


def _line(event: CitationEvent) -> str:
    citation = event.citation
    return f"[{citation.number}] {_source(citation.chunk)}: “{' '.join(citation.quote.split())}”"


def _source(chunk: Chunk) -> str:
    return f"{chunk.name}, {chunk.place}" if chunk.place else chunk.name
