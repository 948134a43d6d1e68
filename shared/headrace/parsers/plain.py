"""Plain text to blocks, paragraph by paragraph. Runs in the parser's process.

unstructured would take every short line for a title, and sixteen seconds for ten megabytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from headrace.types import Block

_PARAGRAPH = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
_STAMP = re.compile(r"\W{0,2}(?:\d{4}-\d\d-\d\d|\d\d?[:/.]\d\d|[A-Z][a-z]{2} [ \d]\d )")
_LIST_ITEM = re.compile(r"^[ \t]*(?:[•◦▪–—*·-]|\(?\d{1,3}[.)]|\(?[a-z][.)])[ \t]+", re.MULTILINE)


def read_text(text: str) -> Iterator[Block]:
    """A block a paragraph, and a block a list item. Pages are told by form feeds, where there are any."""
    pages = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "").split("\f")
    for number, page in enumerate(pages, 1):
        for paragraph in _PARAGRAPH.split(page):
            for piece in _pieces(paragraph):
                yield Block(piece, number if len(pages) > 1 else None)


def _pieces(paragraph: str) -> Iterable[str]:
    """The paragraph, or its list items, each on one line."""
    starts = [match.start() for match in _LIST_ITEM.finditer(paragraph)]
    if len(starts) < 2:
        starts = []
    ends = [*starts, len(paragraph)]
    pieces = [paragraph[: ends[0]], *(paragraph[start:end] for start, end in zip(starts, ends[1:], strict=False))]
    return filter(None, (_tidy(piece) for piece in pieces))


def _tidy(piece: str) -> str:
    """The piece on one line where it is prose that was wrapped; logs, addresses and columns keep their lines."""
    lines = [line.rstrip() for line in piece.strip("\n").expandtabs(8).split("\n")]
    if len(lines) > 1 and not _is_wrapped(lines):
        return "\n".join(lines).strip()
    return " ".join(piece.split())


def _is_wrapped(lines: Sequence[str]) -> bool:
    """Whether the lines end where they were full: the next one's first word would not have fitted."""
    width = max(map(len, lines))
    full = sum(len(line) + 1 + len(below.split(" ")[0].strip()) > 0.85 * width for line, below in pairwise(lines))
    columns = sum(bool(re.search(r"\S {2,}\S", line)) for line in lines)
    return width >= 30 and full >= 0.8 * (len(lines) - 1) and columns * 2 < len(lines) and not _looks_like_log(lines)


def _looks_like_log(lines: Sequence[str]) -> bool:
    """Whether each line begins with a time or a date."""
    return all(_STAMP.match(line) for line in lines)
