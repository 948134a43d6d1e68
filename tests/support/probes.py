"""What becomes of tables, notes, margins, hidden text, pictures and encodings in each format: a small file for each question."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import openpyxl
from docx import Document
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from fpdf import FPDF
from openpyxl.comments import Comment
from pptx import Presentation
from pptx.util import Inches

from headrace.errors import DocumentError
from headrace.parsers.readers import Source, read_blocks
from tests.support import documents, files

FEATURES = ("tables", "notes", "headers", "hidden", "pictures", "encodings")
WORD = "Zanzibar"
ROW = "City: Oslo; Fee: 4"
TABLE = documents.Part("table", table=documents.Table([("City",), ("Fee",)], [["Oslo", "4"], ["Rome", "7"]]))
SENTENCE = "Die Kündigung für den Löwenzahn beträgt fünf Öre."
Probe = Callable[[], bytes]


def outcome(kind: str, feature: str) -> str:
    """What the format's probe for the feature shows; a dash where the format has no such thing."""
    make = PROBES.get((kind, feature))
    if make is None:
        return "–"
    texts = _read(kind, make())
    needle = {"tables": ROW, "encodings": SENTENCE}.get(feature, WORD)
    count = sum(needle in text for text in texts)
    return {0: "left out", 1: "read"}.get(count, "read twice")


def _read(kind: str, content: bytes) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(content)
        try:
            return [block.text for block in read_blocks(Source(path, f"a.{kind}", languages="eng"))[0]]
        except DocumentError:
            return []


def _docx(change: Callable[[Any], None]) -> Probe:
    def make() -> bytes:
        document = Document()
        document.add_paragraph("The text.")
        change(document)
        return files.saved(document.save)

    return make


def _docx_comment(document: Any) -> None:
    document.add_comment(runs=document.paragraphs[0].runs, text=f"About {WORD}.", author="A", initials="A")


def _docx_header(document: Any) -> None:
    document.sections[0].header.paragraphs[0].text = WORD
    document.add_section()


def _docx_hidden(document: Any) -> None:
    run = f"<w:r {nsdecls('w')}><w:rPr><w:vanish/></w:rPr><w:t>{WORD}</w:t></w:r>"
    document.paragraphs[0]._p.append(parse_xml(run))


def _docx_picture(document: Any) -> None:
    document.add_picture(BytesIO(files.picture(f"the word {WORD}")), width=4_000_000)


def _pptx(change: Callable[[Any], None]) -> Probe:
    def make() -> bytes:
        deck = Presentation()
        slide = deck.slides.add_slide(deck.slide_layouts[5])
        slide.shapes.title.text = "Title"
        change(slide)
        return files.saved(deck.save)

    return make


def _pptx_notes(slide: Any) -> None:
    slide.notes_slide.notes_text_frame.text = WORD


def _pptx_picture(slide: Any) -> None:
    slide.shapes.add_picture(BytesIO(files.picture(f"the word {WORD}")), Inches(1), Inches(2))


def _pptx_hidden(slide: Any) -> None:
    slide._element.set("show", "0")
    slide.shapes.title.text = WORD


def _xlsx(change: Callable[[Any, Any], None]) -> Probe:
    def make() -> bytes:
        book = openpyxl.Workbook()
        book.active.append(["City", "Fee"])
        book.active.append(["Oslo", 4])
        change(book, book.active)
        return files.saved(book.save)

    return make


def _xlsx_note(_book: Any, sheet: Any) -> None:
    sheet["A2"].comment = Comment(WORD, "A")


def _xlsx_hidden(book: Any, _sheet: Any) -> None:
    book.create_sheet("S").append([WORD])
    book["S"].sheet_state = "hidden"


def _odt(inner: str, header: str = "") -> Probe:
    names = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "text", "table", "style")
    )

    def make() -> bytes:
        parts: dict[str, str | bytes] = {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": f"<office:document-content {names}><office:automatic-styles>"
            f'<style:style style:name="T1"><style:text-properties text:display="none"/></style:style></office:automatic-styles>'
            f"<office:body><office:text>{inner}</office:text></office:body></office:document-content>",
        }
        if header:
            parts["styles.xml"] = f"<s {names}><style:header><text:p>{header}</text:p></style:header></s>"
        return files.zipped(parts)

    return make


def _pdf(change: Callable[[FPDF], None], pages: int = 1) -> Probe:
    def make() -> bytes:
        document = FPDF()
        document.set_auto_page_break(auto=False)
        for number in range(pages):
            document.add_page()
            document.set_font("helvetica", size=11)
            document.set_xy(10, 60)
            document.cell(0, 6, f"The text of page {'abcde'[number]}.")
            change(document)
        return bytes(document.output())

    return make


def _pdf_header(document: FPDF) -> None:
    document.set_xy(10, 10)
    document.cell(0, 6, f"Manual of {WORD}")


def _pdf_note(document: FPDF) -> None:
    document.free_text_annotation(WORD, x=20, y=90, w=60, h=10)


def _pdf_picture(document: FPDF) -> None:
    document.image(BytesIO(files.picture(f"the word {WORD} in a picture")), x=10, y=80, w=180)


def _written(kind: str) -> Probe:
    return lambda: documents.written([documents.Part("heading", ["Prices"]), TABLE], kind)


def _mail(text: str, kind: str = "html", charset: str = "utf-8") -> Probe:
    head = f"From: a@example.org\nSubject: x\nMIME-Version: 1.0\nContent-Type: text/{kind}; charset={charset}\nContent-Transfer-Encoding: base64\n\n"
    return lambda: head.encode() + base64.encodebytes(text.encode(charset))


PROBES: dict[tuple[str, str], Probe] = {
    **{(kind, "tables"): _written(kind) for kind in sorted(documents.WITH_TABLES)},
    ("xls", "tables"): lambda: files.xls("S", ("City", "Fee"), ("Oslo", 4), ("Rome", 7)),
    ("pdf", "tables"): lambda: _pdf_table(FPDF()),
    ("html", "hidden"): f"<p hidden>{WORD}</p><p>Text.</p>".encode,
    ("html", "pictures"): f"<p>See <img src=x alt='{WORD}'>.</p>".encode,
    ("html", "encodings"): lambda: f"<meta charset=iso-8859-1><p>{SENTENCE}</p>".encode("cp1252"),
    ("md", "notes"): f"Text[^1].\n\n[^1]: {WORD}\n".encode,
    ("md", "hidden"): f"<!-- {WORD} -->\n\nText.\n".encode,
    ("md", "pictures"): f"See ![{WORD}](x.png).\n".encode,
    ("md", "encodings"): lambda: SENTENCE.encode("cp1252"),
    ("rst", "notes"): f"Text [1]_.\n\n.. [1] {WORD}\n".encode,
    ("rst", "hidden"): f".. {WORD}\n\nText.\n".encode,
    ("rst", "encodings"): lambda: SENTENCE.encode("cp1252"),
    ("org", "notes"): f"Text[fn:1].\n\n[fn:1] {WORD}\n".encode,
    ("org", "hidden"): f"# {WORD}\nText.\n".encode,
    ("org", "encodings"): lambda: SENTENCE.encode("cp1252"),
    ("docx", "notes"): _docx(_docx_comment),
    ("docx", "headers"): _docx(_docx_header),
    ("docx", "hidden"): _docx(_docx_hidden),
    ("docx", "pictures"): _docx(_docx_picture),
    ("pptx", "notes"): _pptx(_pptx_notes),
    ("pptx", "hidden"): _pptx(_pptx_hidden),
    ("pptx", "pictures"): _pptx(_pptx_picture),
    ("odt", "notes"): _odt(f"<text:p>Text<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>{WORD}</text:p></text:note-body></text:note>.</text:p>"),
    ("odt", "headers"): _odt("<text:p>Text.</text:p>", WORD),
    ("odt", "hidden"): _odt(f'<text:p>Text<text:span text:style-name="T1">{WORD}</text:span>.</text:p>'),
    ("xlsx", "notes"): _xlsx(_xlsx_note),
    ("xlsx", "hidden"): _xlsx(_xlsx_hidden),
    ("csv", "encodings"): lambda: f"a;b\n1;{SENTENCE}\n".encode("cp1252"),
    ("pdf", "notes"): _pdf(_pdf_note),
    ("pdf", "headers"): _pdf(_pdf_header, pages=4),
    ("pdf", "pictures"): _pdf(_pdf_picture),
    ("eml", "hidden"): _mail(f"<p style='display:none'>{WORD}</p><p>Text.</p>"),
    ("eml", "encodings"): _mail(SENTENCE, "plain", "cp1252"),
    ("txt", "encodings"): lambda: SENTENCE.encode("cp1252"),
    ("rtf", "hidden"): f"{{\\rtf1\\ansi Text.{{\\v {WORD}}}\\par}}".encode,
    ("rtf", "encodings"): lambda: b"{\\rtf1\\ansi\\ansicpg1252 " + "".join(c if c < "\x80" else f"\\'{c.encode('cp1252').hex()}" for c in SENTENCE).encode() + b"\\par}",
    ("xml", "encodings"): lambda: f'<?xml version="1.0" encoding="iso-8859-1"?><a>{SENTENCE}</a>'.encode("latin-1"),
    ("json", "encodings"): lambda: f'{{"a": "{SENTENCE}"}}'.encode("utf-16"),
    ("png", "pictures"): lambda: files.picture(f"the word {WORD} in a picture"),
}  # fmt: skip


def _pdf_table(document: FPDF) -> bytes:
    document.add_page()
    document.set_font("helvetica", size=11)
    with document.table() as table:
        for line in (("City", "Fee"), ("Oslo", "4"), ("Rome", "7"), ("Bern", "9")):
            row = table.row()
            for cell in line:
                row.cell(cell)
    return bytes(document.output())


KINDS = sorted({kind for kind, _ in PROBES})


def matrix() -> str:
    """Format by feature, in Markdown."""
    lines = [f"| format | {' | '.join(FEATURES)} |", f"| --- |{' --- |' * len(FEATURES)}"]
    lines += [f"| {kind} | {' | '.join(outcome(kind, feature) for feature in FEATURES)} |" for kind in KINDS]
    return "\n".join(lines)
