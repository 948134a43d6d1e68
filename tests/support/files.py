"""Makes files of many formats that carry a given text, for tests to upload and to parse."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

import openpyxl
import xlwt
from docx import Document
from fpdf import FPDF
from PIL import Image, ImageDraw, ImageFont
from pptx import Presentation

from tests.support.compound import Tree, compound_file


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


def pdf_with_margins(texts: list[str]) -> bytes:
    """A PDF of these pages, each with the manual's name above and its number below."""
    document = FPDF()
    document.set_auto_page_break(auto=False)
    for number, text in enumerate(texts, 1):
        document.add_page()
        document.set_font("helvetica", size=11)
        for y, line in ((10, "Pump manual, 3rd edition"), (60, text), (280, f"Page {number} of {len(texts)}")):
            document.set_xy(10, y)
            document.cell(0, 6, line)
    return bytes(document.output())


def docx(heading: str, *paragraphs: str) -> bytes:
    document = Document()
    document.add_heading(heading, 1)
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    return saved(document.save)


def pptx(title: str, text: str) -> bytes:
    deck = Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = title
    slide.placeholders[1].text = text
    return saved(deck.save)


def xlsx(sheet: str, *rows: tuple[object, ...]) -> bytes:
    book = openpyxl.Workbook()
    book.active.title = sheet
    for row in rows:
        book.active.append(row)
    return saved(book.save)


def odt(heading: str, *paragraphs: str) -> bytes:
    body = f'<text:h text:outline-level="1">{heading}</text:h>' + "".join(f"<text:p>{p}</text:p>" for p in paragraphs)
    table = (
        "<table:table><table:table-row><table:table-cell><text:p>Name</text:p></table:table-cell><table:table-cell>"
        "<text:p>Price</text:p></table:table-cell></table:table-row><table:table-row><table:table-cell><text:p>Seal"
        "</text:p></table:table-cell><table:table-cell><text:p>12</text:p></table:table-cell></table:table-row></table:table>"
    )
    names = " ".join(
        f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for short, name in (("office", "office"), ("text", "text"), ("table", "table"))
    )
    content = (
        f"<office:document-content {names}><office:body><office:text>{body}{table}</office:text></office:body>"
        "</office:document-content>"
    )
    return zipped({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": content})


def epub(title: str, text: str) -> bytes:
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'
    )
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="c" href="c%201.xhtml"/></manifest>'
        '<spine><itemref idref="c"/></spine></package>'
    )
    chapter = (
        f'<?xml version="1.0" encoding="utf-8"?><html><head><title>x</title></head><body><h1>{title}</h1>'
        f"<p>{text}</p></body></html>"
    )
    return zipped({
        "mimetype": "application/epub+zip", "META-INF/container.xml": container, "OEBPS/book.opf": package,
        "OEBPS/c 1.xhtml": chapter,
    })  # fmt: skip


def zipped(entries: dict[str, str | bytes]) -> bytes:
    target = BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return target.getvalue()


def xls(sheet: str, *rows: tuple[Any, ...]) -> bytes:
    book = xlwt.Workbook()
    page = book.add_sheet(sheet)
    for r, row in enumerate(rows):
        for c, value in enumerate(row):
            page.write(r, c, value)
    return saved(book.save)


def msg(subject: str, body: str, attachment: str = "") -> bytes:
    """A mail as Outlook saves it: properties by their numbers ([MS-OXMSG])."""
    texts = {0x0037: subject, 0x1000: body, 0x0C1A: "Ann", 0x0C1F: "ann@example.org"}
    tree = _properties(texts, header=32)
    tree["__recip_version1.0_#00000000"] = _properties({0x3001: "Bob", 0x3003: "bob@example.org"}, header=8)
    if attachment:
        tree["__attach_version1.0_#00000000"] = _properties({0x3707: attachment}, header=8)
    counts = struct.pack("<8xIIII8x", 0, 0, 1, 1 if attachment else 0)
    properties = tree["__properties_version1.0"]
    assert isinstance(properties, bytes)
    tree["__properties_version1.0"] = counts + properties[32:]
    return compound_file(tree)


def _properties(texts: dict[int, str], *, header: int) -> Tree:
    entries = b"".join(struct.pack("<HHIII", 0x001F, number, 6, len(t) * 2 + 2, 0) for number, t in texts.items())
    streams: Tree = {f"__substg1.0_{number:04X}001F": text.encode("utf-16-le") for number, text in texts.items()}
    return {"__properties_version1.0": bytes(header) + entries, **streams}


def picture(text: str, *, kind: str = "PNG") -> bytes:
    """Dark words on a light ground, as a scanner would give them."""
    words = text.split()
    lines = [" ".join(words[start : start + 7]) for start in range(0, len(words), 7)]
    image = Image.new("L", (1200, 120 + 60 * len(lines)), 250)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((60, 60 + 60 * number), line, fill=10, font=ImageFont.load_default(36))
    return saved(lambda target: image.save(target, kind))


def scan(*pages: str) -> bytes:
    """A PDF whose pages are pictures."""
    document = FPDF()
    for text in pages:
        document.add_page()
        document.image(BytesIO(picture(text)), x=5, y=20, w=200)
    return bytes(document.output())


def many_pages(count: int) -> bytes:
    """A PDF of so many empty pages, in few bytes each."""
    kids = b" ".join(b"%d 0 R" % (3 + i) for i in range(count))
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count %d/Kids[%s]>>" % (count, kids)]
    objects += [b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>"] * count
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj%s endobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    tail = b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF"
    return bytes(out) + tail % (len(objects) + 1, table, len(objects) + 1, len(out))


def of_every_format(text: str) -> dict[str, bytes]:
    """File name to content: each format that ingest reads, each carrying the text."""
    plain = text.encode()
    mail = f"From: a@example.org\nTo: b@example.org\nSubject: News\nContent-Type: text/plain; charset=utf-8\n\n{text}\n"
    return {
        "a.txt": plain,
        "a.md": b"# Title\n\n## Part\n\n" + plain,
        "a.html": b"<html><body><h1>Title</h1><p>" + plain + b"</p><script>alert(1)</script></body></html>",
        "a.xml": f'<?xml version="1.0"?><manual><part><note>{text}</note></part></manual>'.encode(),
        "a.json": json.dumps({"part": {"note": text}}).encode(),
        "a.ndjson": json.dumps({"note": "first"}).encode() + b"\n" + json.dumps({"note": text}).encode() + b"\n",
        "a.csv": b"Name,Note\nfirst,second\nthird," + plain + b"\n",
        "a.tsv": b"Name\tNote\nfirst\tsecond\nthird\t" + plain + b"\n",
        "a.xlsx": xlsx("Sheet", ("Name", "Note"), ("first", text)),
        "a.xls": xls("Sheet", ("Name", "Note"), ("first", text)),
        "a.docx": docx("Part", text),
        "a.pptx": pptx("Part", text),
        "a.odt": odt("Part", text),
        "a.rtf": b"{\\rtf1\\ansi{\\fonttbl\\f0 Arial;}\\f0\\pard A title.\\par " + plain + b"\\par}",
        "a.epub": epub("Part", text),
        "a.rst": b"Title\n=====\n\nPart\n----\n\n" + plain + b"\n",
        "a.org": b"#+TITLE: x\n* Title\n** Part\n" + plain + b"\n",
        "a.eml": mail.encode(),
        "a.msg": msg("News", text, attachment="plan.pdf"),
        "a.pdf": pdf("Nothing of note on this page.", text),
        "scan.pdf": scan("Nothing of note on this page.", text),
        "a.png": picture(text),
        "a.jpg": picture(text, kind="JPEG"),
        "a.tiff": picture(text, kind="TIFF"),
    }


def hostile() -> dict[str, tuple[str, Callable[[], bytes]]]:
    """File name to what is wrong with it, and its content."""
    secret = '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a><b>before &e; after</b></a>'
    laughs = "<!DOCTYPE a [<!ENTITY a0 'ha'>" + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 10))
    return {
        "empty.txt": ("no bytes", lambda: b""),
        "blank.txt": ("white space alone", lambda: b" \n\t "),
        "named-wrongly.txt": ("a docx under another name", lambda: docx("Part", "The text of the document.")),
        "text.pdf": ("text under the name of a PDF", lambda: b"This is no PDF at all."),
        "binary.dat": ("bytes of no kind", lambda: bytes(range(256)) * 20),
        "program.exe": ("a program", lambda: b"MZ" + bytes(300)),
        "archive.zip": ("an archive", lambda: zipped({"a.txt": "text"})),
        "old.doc": ("Word before 2007", lambda: compound_file({"WordDocument": b"x" * 5000})),
        "locked.docx": ("Word with a password", lambda: compound_file({"EncryptedPackage": b"x" * 5000})),
        "locked.pdf": ("a PDF with a password", lambda: pdf("secret", password="x")),
        "cut.pdf": ("the first bytes of a PDF", lambda: pdf("text")[:300]),
        "cut.docx": ("the first bytes of a docx", lambda: docx("Part", "text")[:900]),
        "cut.xlsx": ("a workbook without its sheets", lambda: zipped({"xl/workbook.xml": "<x/>"})),
        "cut.msg": ("a mail cut in half", lambda: msg("News", "text " * 2000)[:4000]),
        "no-text.pdf": ("a PDF of empty pages", lambda: many_pages(3)),
        "100000-pages.pdf": ("a PDF of 100,000 pages", lambda: many_pages(100_000)),
        "bomb.docx": ("600 MB of zeros in 600 kB", _zip_bomb),
        "laughs.xml": ("entities that multiply", f"{laughs}]><a>&a9;</a>".encode),
        "outside.xml": ("an entity that reads a file", secret.encode),
        "deep.xml": ("100,000 levels of XML", lambda: b"<a>" * 100_000 + b"</a>" * 100_000),
        "deep.json": ("100,000 levels of JSON", lambda: b"[" * 100_000 + b"]" * 100_000),
        "deep.html": ("50,000 levels of HTML", lambda: b"<div>" * 50_000 + b"The text within." + b"</div>" * 50_000),
        "broken.json": ("half of a JSON value", lambda: b'{"a": [1, 2'),
        "broken.ndjson": ("a line that is no JSON", lambda: b'{"a": 1}\n{broken\n'),
        "surrogate.json": ("half a character", lambda: b'{"title": "smile \\ud83d cut"}'),
        "latin-1.txt": ("another encoding", lambda: "Die Öffnungszeiten der Bücherei ändern sich übermorgen.".encode("latin-1")),
        "utf-16.txt": ("another encoding", lambda: "Die Öffnungszeiten ändern sich.".encode("utf-16")),
        "invalid.txt": ("bytes that no encoding has", lambda: b"Valve \xff\xfe\x81 closed\n" + bytes([0xC3, 0x28])),
        "script.html": ("scripts in a page", lambda: b"<p onclick='x()'>Text.</p><script>alert('stolen')</script>"),
        "broken.png": ("a picture cut short", lambda: picture("text")[:200]),
        "noise.png": ("a picture without words", lambda: picture("")),
    }  # fmt: skip


def _zip_bomb() -> bytes:
    return zipped({"[Content_Types].xml": "", "word/document.xml": b"0" * (600 * 1024 * 1024)})


def saved(save: Callable[[BytesIO], None]) -> bytes:
    """What a library saves into a file."""
    target = BytesIO()
    save(target)
    return target.getvalue()
