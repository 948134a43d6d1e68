"""PDFs through PDFium: a page's lines in reading order, its tables and filled forms, its picture; the outline.

unstructured's own PDF path wants a gigabyte of models at import, and answers an encrypted or broken file with an empty list;
PDFium says what is wrong.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from headrace.errors import DocumentError
from headrace.parsers.layout import ENOUGH_ROWS, GAP, Piece, Table, arranged
from headrace.parsers.pdf_pages import Item, Page, Text

OCR_DPI = 200
MAX_PIXELS_A_SIDE = 8000
# A page of which so much is pictures, and that has so little text, may have more of it in them.
PICTURE_SHARE = 0.05
FEW_CHARACTERS = 600
# How deep pictures may lie in forms within forms.
MOST_FORMS = 4
MOST_VALUE_BYTES = 20_000
UNSAID = frozenset({pdfium_c.FPDF_ANNOT_LINK, pdfium_c.FPDF_ANNOT_POPUP, pdfium_c.FPDF_ANNOT_WIDGET})
# Left, bottom, right, top.
Box = tuple[float, float, float, float]
# Where on a page a section starts, in points from below (infinitely high, where it is the page as a whole), and its path.
Start = tuple[float, tuple[str, ...]]


@contextmanager
def open_pdf(path: Path) -> Iterator[Pdf]:
    """The PDF. Raises DocumentError for one that is protected or damaged."""
    try:
        document = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        raise DocumentError(_why(error)) from error
    with document:
        yield Pdf(document)


class Pdf:
    """An open PDF; pages count from 0."""

    def __init__(self, document: pdfium.PdfDocument) -> None:
        self._document = document

    def __len__(self) -> int:
        return len(self._document)

    def pages(self, outline: Sequence[Sequence[Start]]) -> Iterator[Page]:
        """The pages. Where nothing stands beside anything, and no place is asked for, PDFium's own lines do."""
        self._document.init_forms()
        for number, starts in enumerate(outline):
            try:
                page = self._document[number]
                try:
                    yield _read(page, self._document, needs_places=any(top != inf for top, _ in starts))
                finally:
                    page.close()
            except pdfium.PdfiumError as error:
                raise DocumentError(
                    f"Page {number + 1} of the PDF can't be read: the file is damaged. Export it anew."
                ) from error

    def outline(self) -> list[list[Start]]:
        """For each page, the sections that begin on it, from top to bottom."""
        starts: list[list[Start]] = [[] for _ in range(len(self))]
        path: list[str] = []
        for bookmark in self._document.get_toc(max_depth=6):
            destination = bookmark.get_dest()
            title = " ".join((bookmark.get_title() or "").split())
            path = [*path[: bookmark.level], title]
            page = destination.get_index() if destination else None
            if page is not None and title and 0 <= page < len(starts):
                starts[page].append((_top(destination), tuple(path)))
        return [sorted(page, key=lambda start: -start[0]) for page in starts]

    def picture(self, number: int) -> bytes:
        """A page as a grey PGM picture, fine enough for OCR."""
        page = self._document[number]
        try:
            scale = min(OCR_DPI / 72, MAX_PIXELS_A_SIDE / max(page.get_size()))
            bitmap = page.render(scale=scale, grayscale=True)
            rows = bytes(bitmap.buffer)
            starts = range(0, bitmap.stride * bitmap.height, bitmap.stride)
            lines = (rows[start : start + bitmap.width] for start in starts)
            return b"P5 %d %d 255\n" % (bitmap.width, bitmap.height) + b"".join(lines)
        finally:
            page.close()


def _read(page: pdfium.PdfPage, document: pdfium.PdfDocument, *, needs_places: bool) -> Page:
    textpage = page.get_textpage()
    text = textpage.get_text_range()
    lines = [line.strip() for line in re.sub("\ufffe\\s*", "", text).splitlines()]
    filled = list(_filled(page, document))
    pictures = _picture_share(page) if len(text) < FEW_CHARACTERS else 0.0
    is_scan = pictures >= PICTURE_SHARE or (pictures > 0 and not text.strip())
    boxes = [textpage.get_rect(at) for at in range(textpage.count_rects())]
    if not (filled or _stand_in_columns(boxes)):
        return Page(tuple(_placed(text, textpage) if needs_places else map(Text, lines)), is_scan)
    found = (Piece(_mended(textpage.get_text_bounded(*box)), *box) for box in boxes)
    items = arranged([*(piece for piece in found if piece.text), *filled])
    return Page(tuple(map(_item, items)), is_scan, held="\n".join(lines))


def _placed(text: str, textpage: pdfium.PdfTextPage) -> Iterator[Text]:
    """PDFium's lines with the heights at which they stand, by their first characters."""
    start = 0
    for line in text.split("\r\n"):
        first = start + len(line) - len(line.lstrip())
        start += len(line) + 2
        shown = re.sub("\ufffe\\s*", "", line).strip()
        if shown:
            _, bottom, _, top = textpage.get_charbox(first, loose=True)
            yield Text(shown, top, top - bottom)
        else:
            yield Text("")


def _stand_in_columns(boxes: Sequence[Box]) -> bool:
    """Whether several pieces stand beside the piece before them, with more than a space between: columns, or a table."""
    beside = 0
    for (_, bottom, right, top), (left, low, _, high) in pairwise(boxes):
        height = max(min(top - bottom, high - low), 1.0)
        beside += min(top, high) - max(bottom, low) > height / 2 and left - right > GAP * height
    return beside >= ENOUGH_ROWS


def _item(item: Piece | Table | None) -> Item:
    return Text(item.text.strip(), item.top, item.height) if isinstance(item, Piece) else item


def _mended(text: str) -> str:
    return text.replace("\r\n", " ").replace("\x02", "\u00ad").replace("\ufffe", "\u00ad").rstrip(" ")


def _picture_share(page: pdfium.PdfPage) -> float:
    width, height = page.get_size()
    area = 0.0
    for picture in page.get_objects(filter=[pdfium_c.FPDF_PAGEOBJ_IMAGE], max_depth=MOST_FORMS):
        left, bottom, right, top = picture.get_bounds()
        area += max(0.0, min(right, width) - max(left, 0)) * max(0.0, min(top, height) - max(bottom, 0))
    return area / (width * height) if width and height else 0.0


def _filled(page: pdfium.PdfPage, document: pdfium.PdfDocument) -> Iterator[Piece]:
    """What is filled into the page's fields, and written onto it, where it stands."""
    for at in range(pdfium_c.FPDFPage_GetAnnotCount(page)):
        annotation = pdfium_c.FPDFPage_GetAnnot(page, at)
        if not annotation:
            continue
        kind = pdfium_c.FPDFAnnot_GetSubtype(annotation)
        text = ""
        if kind == pdfium_c.FPDF_ANNOT_WIDGET and document.formenv:
            text = _value(document.formenv, annotation)
        elif kind not in UNSAID:
            text = _string(partial(pdfium_c.FPDFAnnot_GetStringValue, annotation, b"Contents"))
        box = pdfium_c.FS_RECTF()
        if text and pdfium_c.FPDFAnnot_GetRect(annotation, box):
            # As high as a line, in the middle of the field.
            middle, half = (box.top + box.bottom) / 2, min(abs(box.top - box.bottom) / 2, 6.0)
            yield Piece(text, box.left, middle - half, box.right, middle + half)
        pdfium_c.FPDFPage_CloseAnnot(annotation)


def _value(form: pdfium.PdfFormEnv, annotation: object) -> str:
    kind = pdfium_c.FPDFAnnot_GetFormFieldType(form, annotation)
    if kind in {pdfium_c.FPDF_FORMFIELD_CHECKBOX, pdfium_c.FPDF_FORMFIELD_RADIOBUTTON}:
        return "[x]" if pdfium_c.FPDFAnnot_IsChecked(form, annotation) else "[ ]"
    if kind == pdfium_c.FPDF_FORMFIELD_PUSHBUTTON:
        return ""
    return _string(partial(pdfium_c.FPDFAnnot_GetFormFieldValue, form, annotation))


def _string(call: Callable[[Any, int], int]) -> str:
    """What a function of PDFium's writes into a buffer: UTF-16, with a zero at its end."""
    size = call(None, 0)
    if not 2 < size <= MOST_VALUE_BYTES:
        return ""
    buffer = ctypes.create_string_buffer(size)
    call(ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    return " ".join(buffer.raw[: size - 2].decode("utf-16-le", "replace").split())


def _top(destination: pdfium.PdfDest) -> float:
    """How high on its page a destination is; infinitely, where it is the page as a whole."""
    mode, position = destination.get_view()
    at = {pdfium_c.PDFDEST_VIEW_XYZ: 1, pdfium_c.PDFDEST_VIEW_FITH: 0, pdfium_c.PDFDEST_VIEW_FITBH: 0}.get(mode)
    if mode == pdfium_c.PDFDEST_VIEW_FITR and len(position) == 4:
        at = 3
    top = position[at] if at is not None and at < len(position) else None
    return float(top) if top else inf


def _why(error: pdfium.PdfiumError) -> str:
    if getattr(error, "err_code", None) == pdfium_c.FPDF_ERR_PASSWORD:
        return "The PDF is protected by a password. Upload an unprotected copy."
    return "The PDF can't be opened: the file is damaged or not a PDF. Export it anew."
