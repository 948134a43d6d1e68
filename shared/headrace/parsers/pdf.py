"""PDF text through PDFium: page numbers and the outline's sections, exact and fast. Runs in the parser's process.

unstructured's own PDF path wants a gigabyte of models at import, and answers an
encrypted or broken file with an empty list; PDFium says what is wrong.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from headrace.errors import DocumentError
from headrace.parsers import ocr
from headrace.types import Block

MAX_PAGES = 5000
OCR_DPI = 200
MAX_PIXELS_A_SIDE = 8000
_SENTENCE_END = re.compile(r"[.!?:;…][\"'”’)\]]*$")
_LIST_START = re.compile(r"^(?:[•◦▪–—*·-]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s")


def read_pdf(path: Path, *, languages: str = "") -> list[Block]:
    """One block a paragraph, with its page and its section. Pages that are pictures are read by OCR, where there is any.

    Raises DocumentError for a file that has no text to give.
    """
    try:
        document = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        raise DocumentError(_why(error)) from error
    with document:
        if len(document) > MAX_PAGES:
            raise DocumentError(f"The PDF has {len(document):,} pages, more than the limit of {MAX_PAGES:,}. Split it.")
        sections = _sections(document)
        pages = [list(_paragraphs(_page_text(document, number))) for number in range(1, len(document) + 1)]
        scans = [number for number, found in enumerate(pages, 1) if not found and _has_picture(document, number)]
        if scans and ocr.has_ocr(languages):
            for number, text in _recognised(document, scans, languages):
                pages[number - 1] = list(ocr.paragraphs(text))
    blocks = [
        Block(paragraph, number, sections[number - 1]) for number, found in enumerate(pages, 1) for paragraph in found
    ]
    if not blocks and scans and not ocr.has_ocr(languages):
        raise DocumentError(ocr.NO_OCR)
    if not blocks:
        raise DocumentError("The PDF has no text: no text layer, and none that OCR could find. Upload one with text.")
    return blocks


def _recognised(document: pdfium.PdfDocument, numbers: list[int], languages: str) -> Iterator[tuple[int, str]]:
    """The text of each of these pages: as many at once as there are processors, so few pictures are held."""
    at_once = os.cpu_count() or 1
    with ThreadPoolExecutor(at_once) as threads:
        for start in range(0, len(numbers), at_once):
            some = numbers[start : start + at_once]
            pictures = [_picture(document, number) for number in some]
            yield from zip(some, threads.map(partial(ocr.recognise, languages=languages), pictures), strict=True)


def _has_picture(document: pdfium.PdfDocument, number: int) -> bool:
    page = document[number - 1]
    try:
        return any(True for _ in page.get_objects(filter=[pdfium_c.FPDF_PAGEOBJ_IMAGE]))
    finally:
        page.close()


def _picture(document: pdfium.PdfDocument, number: int) -> bytes:
    """A page as a grey PGM picture, fine enough for OCR."""
    page = document[number - 1]
    try:
        scale = min(OCR_DPI / 72, MAX_PIXELS_A_SIDE / max(page.get_size()))
        bitmap = page.render(scale=scale, grayscale=True)
        rows = bytes(bitmap.buffer)
        lines = (rows[start : start + bitmap.width] for start in range(0, bitmap.stride * bitmap.height, bitmap.stride))
        return b"P5 %d %d 255\n" % (bitmap.width, bitmap.height) + b"".join(lines)
    finally:
        page.close()


def _page_text(document: pdfium.PdfDocument, number: int) -> str:
    try:
        page = document[number - 1]
        try:
            return page.get_textpage().get_text_range()
        finally:
            page.close()
    except pdfium.PdfiumError as error:
        raise DocumentError(f"Page {number} of the PDF can't be read: the file is damaged. Export it anew.") from error


def _sections(document: pdfium.PdfDocument) -> list[tuple[str, ...]]:
    """For each page, the outline path that is open at its end."""
    starts: dict[int, tuple[str, ...]] = {}
    path: list[str] = []
    for bookmark in document.get_toc(max_depth=6):
        destination = bookmark.get_dest()
        title = " ".join((bookmark.get_title() or "").split())
        path = [*path[: bookmark.level], title]
        page = destination.get_index() if destination else None
        if page is not None and title:
            starts.setdefault(page, tuple(path))
    sections: list[tuple[str, ...]] = []
    current: tuple[str, ...] = ()
    for index in range(len(document)):
        current = starts.get(index, current)
        sections.append(current)
    return sections


def _paragraphs(text: str) -> Iterator[str]:
    # PDFium gives lines. U+FFFE marks a hyphen at a line's end that is not part of the word.
    lines = [line.strip() for line in re.sub("\ufffe\\s*", "", text).splitlines()]
    width = max((len(line) for line in lines), default=0)
    paragraph = ""
    for line in lines:
        if paragraph and (not line or _LIST_START.match(line)):
            yield paragraph
            paragraph = ""
        paragraph = f"{paragraph} {line}".strip()
        # A short line that ends a sentence, or a heading-like one, ends its paragraph.
        short = len(line) < 0.75 * width
        if paragraph and short and (_SENTENCE_END.search(line) or paragraph == line):
            yield paragraph
            paragraph = ""
    if paragraph:
        yield paragraph


def _why(error: pdfium.PdfiumError) -> str:
    if getattr(error, "err_code", None) == pdfium_c.FPDF_ERR_PASSWORD:
        return "The PDF is protected by a password. Upload an unprotected copy."
    return "The PDF can't be opened: the file is damaged or not a PDF. Export it anew."
