"""From a model's text to tokens and citations: markers are checked, resolved and quoted while the text streams."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from headrace.text.sentences import content_stems, sentence_spans
from headrace.types import Chunk, Citation, CitationEvent, Passage, TokenEvent

_SPECIAL = re.compile(r"`+|[“”\n]|\[\d{1,3}(?:\s*,\s*\d{1,3})*\]")
# What may still become a marker when the next piece of text arrives.
_UNFINISHED = re.compile(r"\[[\d,\s]{0,20}$")
_QUOTED = re.compile(r"[“\"]([^”\"]{8,})[”\"]")
CLAIM_CHARACTERS = 600


class MarkerScanner:
    """Tells an answer's markers from its text, piece by piece: in code and in “quotations”, `[1]` is text."""

    def __init__(self) -> None:
        self._in_code = False
        self._in_quotation = False

    def pieces(self, text: str) -> Iterator[tuple[str, bool]]:
        """The text in pieces, each with whether it is a marker. Line breaks and quotation marks are pieces of their own."""
        place = 0
        for special in _SPECIAL.finditer(text):
            if special.start() > place:
                yield text[place : special.start()], False
            yield special.group(), self._is_marker(special.group())
            place = special.end()
        if place < len(text):
            yield text[place:], False

    def _is_marker(self, piece: str) -> bool:
        if piece.startswith("`"):
            self._in_code ^= len(piece) % 2 == 1
        elif piece in "“”\n":
            self._in_quotation = piece == "“"
        else:
            return not (self._in_code or self._in_quotation)
        return False


def marked_numbers(marker: str) -> list[int]:
    """The numbers of the passages that a marker names, as in `[2]` or `[2, 3]`."""
    return [int(number) for number in marker.strip("[]").split(",")]


class CitationFilter:
    """Feed it text as it comes; it gives tokens, and a citation for each sentence of a passage that is used.

    Markers that name no passage are dropped. Markers in code (backticks) and
    inside “quotations” are text.
    """

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._held = ""
        self._claim = ""
        self._quoted: set[tuple[int, int, int]] = set()
        self._scanner = MarkerScanner()

    @property
    def cited(self) -> frozenset[int]:
        """The numbers of the passages cited so far."""
        return frozenset(number for number, _, _ in self._quoted)

    def feed(self, text: str) -> Iterator[TokenEvent | CitationEvent]:
        """What can be said now; the start of a possible marker is held back."""
        self._held += text
        unfinished = _UNFINISHED.search(self._held)
        ready = self._held[: unfinished.start()] if unfinished else self._held
        self._held = self._held[len(ready) :]
        return self._emit(ready)

    def close(self) -> Iterator[TokenEvent | CitationEvent]:
        """What was held back."""
        ready, self._held = self._held, ""
        return self._emit(ready)

    def _emit(self, text: str) -> Iterator[TokenEvent | CitationEvent]:
        out = ""
        new: list[Citation] = []
        for piece, is_marker in self._scanner.pieces(text):
            if is_marker:
                kept, citations = self._marker(piece)
                out += kept
                new += citations
            else:
                out += piece
                self._claim = "" if piece == "\n" else (self._claim + piece)[-CLAIM_CHARACTERS:]
        if out:
            yield TokenEvent(out)
        yield from map(CitationEvent, new)

    def _marker(self, marker: str) -> tuple[str, list[Citation]]:
        numbers = [n for n in marked_numbers(marker) if 1 <= n <= len(self._passages)]
        new = [citation for number in dict.fromkeys(numbers) if (citation := self._cite(number))]
        return "".join(f"[{n}]" for n in numbers), new

    def _cite(self, number: int) -> Citation | None:
        """The passage's sentence that carries the claim; None where it has been cited for another claim."""
        chunk = self._passages[number - 1].chunk
        start, end = best_quote(self._claim, chunk)
        if (number, start, end) in self._quoted:
            return None
        self._quoted.add((number, start, end))
        return Citation(number, chunk, chunk.text[start:end], start, end)


def best_quote(claim: str, chunk: Chunk) -> tuple[int, int]:
    """The span of the chunk that carries the claim: what it quotes word for word, else its nearest sentence."""
    for quoted in reversed(_QUOTED.findall(claim)):
        start = chunk.text.find(quoted)
        if start >= 0:
            return start, start + len(quoted)
    spans = list(sentence_spans(chunk.text)) or [(0, len(chunk.text))]
    sentences = [claim[start:end] for start, end in sentence_spans(claim)]
    wanted = content_stems(sentences[-1] if sentences else claim)
    return max(spans, key=lambda span: (_overlap(wanted, chunk.text[span[0] : span[1]]), -span[0]))


def _overlap(wanted: frozenset[str], sentence: str) -> float:
    stems = content_stems(sentence)
    return len(wanted & stems) / (len(stems) ** 0.5 or 1.0)
