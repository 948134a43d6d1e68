"""What of a passage can be quoted by itself: a sentence, a table's row, the steps of a procedure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from headrace.text.sentences import content_stems, sentence_spans
from headrace.types import Chunk

_STEP = re.compile(r"\(?(?:\d{1,3}|[a-z])[.)]\s")
_CELL = re.compile(r"; (?=[^;:]{1,100}: )")
MOST_STEPS = 20
# What many ask for is found, and cut into units, again and again. Some megabytes.
REMEMBERED_CHUNKS = 512


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of the chunk's text, from `start` to `end`. `steps` are the lines of the procedure that it is of, or begins."""

    text: str
    start: int
    end: int
    stems: frozenset[str]
    steps: tuple[tuple[int, int], ...] = ()

    @property
    def cells(self) -> tuple[tuple[str, str], ...]:
        """A table row's labels and values; nothing for anything else."""
        parts = [part.partition(": ") for part in _CELL.split(self.text)]
        return tuple((label, value) for label, _, value in parts) if len(parts) > 1 and all(p[2] for p in parts) else ()


def units_of(chunk: Chunk) -> tuple[Unit, ...]:
    """The chunk's units, without its headings and what is a question itself."""
    return _units_of(chunk.text, chunk.section)


@lru_cache(maxsize=REMEMBERED_CHUNKS)
def stems_of(text: str) -> frozenset[str]:
    """The stems of a chunk's text that carry meaning."""
    return content_stems(text)


@lru_cache(maxsize=REMEMBERED_CHUNKS)
def _units_of(whole: str, section: tuple[str, ...]) -> tuple[Unit, ...]:
    return tuple(_units(whole, section))


def _units(whole: str, section: tuple[str, ...]) -> Iterator[Unit]:
    lines = list(_lines(whole))
    titles = {" ".join(title.split()) for title in section}
    for place, (start, end) in enumerate(lines):
        line = whole[start:end]
        if line in titles:
            continue
        steps = _steps(whole, lines, place)
        if _CELL.search(line) and ": " in line.partition("; ")[0]:
            yield Unit(line, start, end, content_stems(line))
            continue
        for first, last in sentence_spans(line):
            text = line[first:last]
            if not text.endswith(("?", "？", "؟")):
                yield Unit(text, start + first, start + last, content_stems(text), steps)


def _lines(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for line in text.split("\n"):
        if line.strip():
            yield start + len(line) - len(line.lstrip()), start + len(line.rstrip())
        start += len(line) + 1


def _steps(text: str, lines: list[tuple[int, int]], place: int) -> tuple[tuple[int, int], ...]:
    """The numbered lines around a line, or below one that ends with a colon."""
    is_step = [_STEP.match(text[start:end]) is not None for start, end in lines]
    first = place
    if not is_step[place]:
        if not text[lines[place][0] : lines[place][1]].endswith((":", "\uff1a")) or place + 1 == len(lines):
            return ()
        if not is_step[place + 1]:
            return ()
        first = place + 1
    while first > 0 and is_step[first - 1]:
        first -= 1
    last = first
    while last + 1 < len(lines) and is_step[last + 1]:
        last += 1
    return tuple(lines[first : last + 1][:MOST_STEPS]) if last > first else ()
