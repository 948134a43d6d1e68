"""What a PDF's pages are made into: no running lines, lines in paragraphs. Runs in the parser's process."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from headrace.parsers.layout import Table

# Lines at a page's edges that stand there on so many pages are no part of the text.
EDGE_LINES = 2
ENOUGH_PAGES = 3
# Of the longest line: what is shorter is short, and the least that a column of prose takes.
SHORT = 0.75
COLUMN_SHARE = 0.35
# In heights of a line.
PARAGRAPH_GAP = 1.3
_SENTENCE_END = re.compile(r"[.!?:;…][\"'”’)\]]*$")
_LIST_START = re.compile(r"^(?:[•◦▪–—*·-]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s")


@dataclass(frozen=True, slots=True)
class Text:
    """A line, or a paragraph of them. `top` is in points from below, None where it is not known."""

    text: str
    top: float | None = None
    height: float = 0.0


Item = Text | Table | None


@dataclass(frozen=True, slots=True)
class Page:
    """A page's lines and tables as they are read, None between columns. `is_scan`: its pictures may hold text.

    `held` is all its text by another way, where it was taken apart.
    """

    items: tuple[Item, ...]
    is_scan: bool
    held: str = ""


def without_running_lines(pages: Sequence[Page]) -> list[Page]:
    """The pages without their numbers; what stands at the edge of several pages stays on the first of them."""
    edges = [list(_edges(page)) for page in pages]
    counts = Counter(
        key for number, page in enumerate(edges) for key in {k for _, text in page for k in _keys(text, number)}
    )
    seen: set[tuple[str, int]] = set()
    kept = []
    for number, page in enumerate(pages):
        gone = set()
        for at, text in edges[number]:
            running = [key for key in _keys(text, number) if counts[key] >= ENOUGH_PAGES]
            if running:
                # A number alone says nothing, not even once.
                if seen.intersection(running) or not re.search(
                    r"[^\W\d_]{3}", text.replace("Page", "").replace("Seite", "")
                ):
                    gone.add(at)
                seen.update(running)
        kept.append(
            replace(page, items=tuple(item for at, item in enumerate(page.items) if at not in gone)) if gone else page
        )
    return kept


def _edges(page: Page) -> Iterator[tuple[int, str]]:
    """The first and the last lines."""
    lines = [(at, item.text) for at, item in enumerate(page.items) if isinstance(item, Text) and item.text]
    yield from dict([*lines[:EDGE_LINES], *lines[-EDGE_LINES:]]).items()


def _keys(text: str, number: int) -> Iterator[tuple[str, int]]:
    """A line as it is, and with each of its numbers as what it is beyond the page's."""
    yield text, 0
    for match in re.finditer(r"\d{1,4}", text):
        yield f"{text[: match.start()]}\x00{text[match.end() :]}", int(match[0]) - number


def paragraphs(items: Iterable[Item]) -> Iterator[Text | Table]:
    """The lines in paragraphs, and the tables between them."""
    for is_text, group in groupby(items, key=lambda item: isinstance(item, Text)):
        if is_text:
            yield from _paragraphs([item for item in group if isinstance(item, Text)])
        else:
            yield from (item for item in group if isinstance(item, Table))


def _paragraphs(lines: Sequence[Text]) -> Iterator[Text]:
    """Lines of one column: a list item begins a paragraph, and a short line that ends a sentence, or a gap below, ends it."""
    lengths = [len(line.text) for line in lines]
    page = max(lengths, default=0)
    paragraph: Text | None = None
    last: Text | None = None
    for at, line in enumerate(lines):
        if paragraph and (not line.text or _LIST_START.match(line.text) or _is_apart(last, line)):
            yield paragraph
            paragraph = None
        if line.text:
            # A short line that ends a sentence, or a heading-like one, ends its paragraph.
            ends_sentence = _SENTENCE_END.search(line.text)
            stands_alone = not paragraph and not _is_in_column(lengths, at, page)
            ends = lengths[at] < SHORT * page and (ends_sentence or stands_alone)
            paragraph = replace(paragraph, text=_with(paragraph.text, line.text)) if paragraph else line
            if ends:
                yield paragraph
                paragraph = None
        last = line
    if paragraph:
        yield paragraph


def _is_in_column(lengths: Sequence[int], at: int, page: int) -> bool:
    """Whether the lines below are about as long: then it is full in a column that is narrower than the page."""
    below = max(lengths[at + 1 : at + 3], default=0)
    return below > COLUMN_SHARE * page and 0.8 * below <= lengths[at] <= 1.2 * below


def _with(text: str, line: str) -> str:
    """PDFium marks a hyphen at a line's end that is not part of the word."""
    return text[:-1] + line if text.endswith("\u00ad") else f"{text} {line}"


def _is_apart(above: Text | None, below: Text) -> bool:
    if above is None or above.top is None or below.top is None:
        return False
    return above.top - above.height - below.top > PARAGRAPH_GAP * max(below.height, 1.0)
