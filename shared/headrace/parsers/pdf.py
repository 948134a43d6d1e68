"""PDFs to blocks: pages, sections by the outline, paragraphs, tables; scanned pages by OCR. Runs in the parser's process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from headrace.errors import DocumentError
from headrace.parsers import ocr
from headrace.parsers.layout import Table
from headrace.parsers.ledger import difference
from headrace.parsers.pdf_pages import Item, Page, paragraphs, without_running_lines
from headrace.parsers.pdfium import Pdf, Start, open_pdf
from headrace.parsers.tables import read_rows
from headrace.types import Block, Note

MAX_PAGES = 5000
# A bookmark points at the top of its heading, or a little above.
TOLERANCE_POINTS = 3.0
# Words of a recognised paragraph that the page's own text has, too.
KNOWN_SHARE = 0.6


def read_pdf(path: Path, *, languages: str = "") -> Iterator[Block | Note]:
    """One block a paragraph or row, with its page and its section. Pages that are pictures are read by OCR, where there is any.

    Raises DocumentError for a file that has no text to give.
    """
    with open_pdf(path) as document:
        if len(document) > MAX_PAGES:
            raise DocumentError(f"The PDF has {len(document):,} pages, more than the limit of {MAX_PAGES:,}. Split it.")
        outline = document.outline()
        pages = without_running_lines(list(document.pages(outline)))
        scans = [number for number, page in enumerate(pages) if page.is_scan]
        seen: dict[int, tuple[str, ...]] = {}
        if scans and ocr.has_ocr(languages):
            seen = dict(_recognised(document, scans, languages))
    if not any(text for page in pages for text in _texts(page)) and not any(seen.values()):
        no_text = "The PDF has no text: no text layer, and none that OCR could find. Upload one with text."
        raise DocumentError(ocr.NO_OCR if scans and not ocr.has_ocr(languages) else no_text)
    if scans and not ocr.has_ocr(languages):
        yield Note(
            f"Pages with pictures that may hold text were not read: this deployment has no OCR ({_list(scans)})."
        )
    taken_apart = [page for page in pages if page.held]
    if missing := difference(
        (page.held for page in taken_apart), (text for page in taken_apart for text in _texts(page))
    ):
        yield missing
    current: tuple[str, ...] = ()
    for number, page in enumerate(pages):
        yield from _page_blocks(page, number + 1, current, outline[number])
        current = outline[number][-1][1] if outline[number] else current
        if number in seen:
            known = {word for text in _texts(page) for word in text.casefold().split()}
            yield from (Block(text, number + 1, current) for text in seen[number] if _is_new(text, known))


def _page_blocks(page: Page, number: int, section: tuple[str, ...], starts: Sequence[Start]) -> Iterator[Block]:
    """The page's blocks, each under the section that has begun above it."""
    for item in paragraphs(_parted(page.items, starts)):
        here = _section_at(item.top, section, starts)
        if isinstance(item, Table):
            yield from read_rows(item.rows, page=number, section=here)
        else:
            yield Block(item.text, number, here)


def _parted(items: Sequence[Item], starts: Sequence[Start]) -> Iterator[Item]:
    """The items, parted where a section begins."""
    last: tuple[str, ...] | None = None
    for item in items:
        here = _section_at(item.top, (), starts) if item else last
        if here != last:
            yield None
        last = here
        yield item


def _section_at(top: float | None, before: tuple[str, ...], starts: Sequence[Start]) -> tuple[str, ...]:
    """The section that something on the page is of, by how high it stands; by what has begun on the page where that isn't known."""
    begun = [path for start, path in starts if top is None or start >= top - TOLERANCE_POINTS]
    return begun[-1] if begun else before


def _texts(page: Page) -> Iterator[str]:
    for item in page.items:
        if isinstance(item, Table):
            yield from (text for row in item.rows for text in row.texts)
        elif item is not None:
            yield item.text


def _is_new(text: str, known: set[str]) -> bool:
    """Whether a recognised paragraph says what the page's own text doesn't."""
    words = text.casefold().split()
    return sum(word in known for word in words) < KNOWN_SHARE * len(words)


def _recognised(document: Pdf, numbers: list[int], languages: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The text of each of these pages: as many at once as there are processors, so few pictures are held."""
    at_once = os.cpu_count() or 1
    with ThreadPoolExecutor(at_once) as threads:
        for start in range(0, len(numbers), at_once):
            some = numbers[start : start + at_once]
            pictures = [document.picture(number) for number in some]
            found = threads.map(partial(ocr.recognise, languages=languages), pictures)
            for number, page in zip(some, found, strict=True):
                yield number, page.paragraphs if page.confidence >= ocr.ENOUGH else ()


def _list(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(number + 1) for number in numbers[:10])
    return f"pages {shown}{' …' if len(numbers) > 10 else ''}"
