"""Makes files of many formats that carry a given text, for tests to upload and to parse."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO

import openpyxl
from docx import Document
from fpdf import FPDF
from pptx import Presentation


def pdf(*pages: str, password: str = "") -> bytes:
    """A PDF with one paragraph a page, encrypted when a password is given."""
    document = FPDF()
    if password:
        document.set_encryption(owner_password=password, user_password=password)
    for number, text in enumerate(pages, 1):
        document.add_page()
        document.start_section(f"Chapter {number}")
        document.set_font("helvetica", size=11)
        document.multi_cell(0, 6, text)
    return bytes(document.output())


def docx(heading: str, *paragraphs: str) -> bytes:
    document = Document()
    document.add_heading(heading, 1)
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    return _saved(document.save)


def pptx(title: str, text: str) -> bytes:
    deck = Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = title
    slide.placeholders[1].text = text
    return _saved(deck.save)


def xlsx(sheet: str, *rows: tuple[object, ...]) -> bytes:
    book = openpyxl.Workbook()
    book.active.title = sheet
    for row in rows:
        book.active.append(row)
    return _saved(book.save)


def of_every_format(text: str) -> dict[str, bytes]:
    """File name to content: each format that ingest reads, each carrying the text."""
    plain = text.encode()
    mail = f"From: a@example.org\nTo: b@example.org\nSubject: News\nContent-Type: text/plain; charset=utf-8\n\n{text}\n"
    return {
        "a.txt": plain,
        "a.md": b"# Title\n\n## Part\n\n" + plain,
        "a.html": b"<html><body><h1>Title</h1><p>" + plain + b"</p><script>alert(1)</script></body></html>",
        "a.pdf": pdf("Nothing of note on this page.", text),
        "a.docx": docx("Part", text),
        "a.pptx": pptx("Part", text),
        "a.xlsx": xlsx("Sheet", ("Name", "Note"), ("first", text)),
        "a.csv": b"Name,Note\nfirst,second\nthird," + plain + b"\n",
        "a.eml": mail.encode(),
        "a.json": json.dumps({"part": {"note": text}}).encode(),
    }


def _saved(save: Callable[[BytesIO], None]) -> bytes:
    target = BytesIO()
    save(target)
    return target.getvalue()
