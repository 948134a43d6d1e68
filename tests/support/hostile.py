"""Files that are small and mean to keep their reader busy, or to take all memory: what reports of such files describe."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from io import BytesIO

from tests.support import files

Make = Callable[[], bytes]
_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_TEXT = "The shaft seal of the feed pump is replaced every four thousand operating hours. "


def busy() -> Mapping[str, tuple[str, Make]]:
    """By name: what is wrong with the file, and how it is made."""
    return {
        "far-row.xlsx": ("a row numbered 2,000,000,000", lambda: _sheet('<row r="2000000000"><c t="n"><v>1</v></c></row>')),
        "far-cells.xlsx": ("20,000 rows with one cell each, in column 16,384", lambda: _sheet(_far_cells(20_000))),
        "far-rows.xlsx": ("1,000 rows, a thousand apart", lambda: _sheet(_far_rows())),
        "strings.xlsx": ("one text of 1 MB that 5,000 cells share", lambda: _sheet(_shared(5_000), shared="x y " * 250_000)),
        "wide.csv": ("a line of a million cells", lambda: b"a," * 1_000_000 + b"\n" + b"1," * 1_000_000),
        "empty-lines.csv": ("ten million empty lines", lambda: b"a,b\n1,2\n" + b"\n" * 10_000_000),
        "quotes.csv": ("a million quotes", lambda: b'"' * 1_000_001),
        "spine.epub": ("a chapter that the spine names 100,000 times", lambda: _epub(1, 100_000)),
        "aliases.epub": ("a chapter of 1 MB under 2,000 names", lambda: _epub(2_000, 1, _TEXT * 12_000)),
        "tables.odt": ("60 tables within each other, 40 rows in each", _nested_odt),
        "spaces.odt": ("100,000 elements in a paragraph", lambda: files.odt("T", "<text:s/>" * 100_000)),
        "brackets.md": ("100,000 opening brackets", lambda: b"[" * 100_000),
        "links.md": ("50,000 half links", lambda: b"[a](" * 50_000),
        "stars.md": ("100,000 stars and letters", lambda: b"*a **b " * 50_000),
        "backticks.md": ("runs of backticks, each of another length", lambda: b" ".join(b"`" * n for n in range(1_500))),
        "quotes.md": ("a quotation 5,000 levels deep", lambda: b">" * 5_000 + b" " + _TEXT.encode()),
        "lists.md": ("a list 1,000 levels deep", lambda: b"".join(b"  " * n + b"- a\n" for n in range(1_000))),
        "angles.md": ("100,000 opening angle brackets", lambda: b"<a " * 100_000),
        "table.md": ("a table of 20,000 columns", lambda: b"|a" * 20_000 + b"|\n" + b"|-" * 20_000 + b"|\n" + b"|1" * 20_000),
        "attributes.html": ("200,000 attributes on one element", lambda: b"<p " + b"".join(b"a%d=1 " % n for n in range(200_000)) + b">x</p>"),
        "elements.html": ("a million empty elements", lambda: b"<p>x</p>" + b"<b></b>" * 1_000_000),
        "cells.html": ("tables within tables, 100 levels", lambda: b"<table><tr><td>" * 100 + _TEXT.encode() * 100),
        "spans.html": ("cells that say they span a million columns and rows", lambda: b"<table>" + b"<tr><td colspan=1000000 rowspan=1000000>x</td></tr>" * 1_000 + b"</table>"),
        "attributes.xml": ("200,000 attributes on one element", lambda: b"<a " + b"".join(b'a%d="1" ' % n for n in range(200_000)) + b"/>"),
        "mixed.xml": ("250 levels with text beside each", lambda: b"<r>" + (b"<a>x" * 200 + b"</a>" * 200) * 500 + b"</r>"),
        "parts.eml": ("20,000 parts", lambda: _parts(20_000)),
        "nested.eml": ("mails within mails, 500 levels", _nested_mail),
        "addresses.eml": ("50,000 addresses", lambda: b"Subject: s\nTo: " + b",\n ".join(b'"A B" <a%d@b.example>' % n for n in range(50_000)) + b"\n\nhello"),
        "headers.eml": ("100,000 headers", lambda: b"".join(b"X-%d: y\n" % n for n in range(100_000)) + b"\n" + _TEXT.encode()),
        "encoded.eml": ("a subject of 50,000 encoded words", lambda: b"Subject: " + b"\n ".join([b"=?utf-8?q?a?="] * 50_000) + b"\n\nhello"),
        "forms.pdf": ("forms that draw each other, ten times each, nine levels", lambda: _forms(10, 9)),
        "itself.pdf": ("a form that draws itself", lambda: _forms(10, 1, itself=True)),
        "streams.pdf": ("a page of 300 MB of blanks, packed", _packed_page),
        "groups.rtf": ("a million groups", lambda: b"{\\rtf1 " + b"{" * 1_000_000 + b"a" + b"}" * 1_000_000 + b"}"),
        "nested.rst": ("a quotation 400 levels deep", lambda: b"".join(b" " * n + b"a\n\n" for n in range(400))),
        "marks.rst": ("50,000 half-open marks", lambda: b"*a `b |c " * 50_000),
        "substitutions.rst": ("substitutions that double, 30 times", _substitutions),
        "deep.org": ("10,000 levels of headings", lambda: b"".join(b"*" * n + b" a\n" for n in range(1, 3_000))),
        "table.docx": ("tables within tables, 40 levels", _nested_docx),
        "long.txt": ("20 MB without a space", lambda: b"x" * 20_000_000),
        "spaces.txt": ("20 MB of spaces and line ends", lambda: b" \n \t\n" * 4_000_000 + b"x"),
        "list.ndjson": ("a million lines of one number", lambda: b"1\n" * 1_000_000),
        "wide.json": ("a million keys", lambda: b"{" + b",".join(b'"k%d":1' % n for n in range(1_000_000)) + b"}"),
        "key.json": ("a key of 5 MB before a list of 1,000", lambda: b'{"' + b"k" * 5_000_000 + b'": {"a": [' + b",".join([b"1"] * 1_000) + b"]}}"),
        "large.png": ("a picture of 30,000 by 30,000", lambda: _png(30_000)),
        "drawing.svg": ("a drawing with a script", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script><text>Valve 7</text></svg>'),
    }  # fmt: skip


def _sheet(rows: str, shared: str = "") -> bytes:
    spread = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    return files.zipped({
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="xml" ContentType="application/xml"/>'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{spread}.sheet.main+xml"/>'
        f'<Override PartName="/xl/sharedStrings.xml" ContentType="{spread}.sharedStrings+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{spread}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{office}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_SHEET}" xmlns:r="{office}"><sheets><sheet name="S" sheetId="1" r:id="r1"/>'
        "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="r2" Type="{office}/sharedStrings" '
        'Target="sharedStrings.xml"/></Relationships>',
        "xl/sharedStrings.xml": f'<sst xmlns="{_SHEET}"><si><t>{shared}</t></si></sst>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_SHEET}"><sheetData>{rows}</sheetData></worksheet>',
    })  # fmt: skip


def _far_cells(count: int) -> str:
    return "".join(f'<row r="{n}"><c r="XFD{n}"><v>{n}</v></c></row>' for n in range(1, count + 1))


def _far_rows() -> str:
    return "".join(f'<row r="{n}"><c r="A{n}"><v>{n}</v></c></row>' for n in range(1, 1_000_000, 1_000))


def _shared(count: int) -> str:
    return "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>0</v></c></row>' for n in range(1, count + 1))


def _epub(names: int, times: int, text: str = _TEXT) -> bytes:
    items = "".join(f'<item id="c{n}" href="c.xhtml"/>' for n in range(names))
    refs = "".join(f'<itemref idref="c{n}"/>' for n in range(names)) * times
    return files.zipped({
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="b.opf"/></rootfiles></container>',
        "b.opf": f'<package xmlns="http://www.idpf.org/2007/opf"><manifest>{items}</manifest><spine>{refs}</spine></package>',
        "c.xhtml": f"<html><body><h1>T</h1><p>{text}</p></body></html>",
    })  # fmt: skip


def _nested_odt() -> bytes:
    content = "<text:p>x</text:p>"
    for _ in range(60):
        cell = "<table:table-cell><text:p>y</text:p></table:table-cell>"
        rows = f"<table:table-row>{cell}</table:table-row>" * 40
        content = f"<table:table>{rows}<table:table-row><table:table-cell>{content}</table:table-cell></table:table-row></table:table>"
    return files.odt("T", f"</text:p>{content}<text:p>")


def _parts(count: int) -> bytes:
    head = b'Subject: s\nContent-Type: multipart/mixed; boundary="b"\n\n'
    return head + b"".join(b"--b\nContent-Type: text/plain\n\npart %d\n" % n for n in range(count)) + b"--b--\n"


def _nested_mail() -> bytes:
    mail = b"Subject: innermost\n\n" + _TEXT.encode()
    for n in range(500):
        mail = b"Subject: s\nContent-Type: multipart/mixed; boundary=b%d\n\n--b%d\nContent-Type: message/rfc822\n\n%s\n--b%d--\n" % (n, n, mail, n)  # fmt: skip
    return mail


def _forms(width: int, depth: int, *, itself: bool = False) -> bytes:
    """A PDF whose page draws a form, which draws the next one `width` times, and so on."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"]
    resources = b"<< /XObject << /F %d 0 R >> /Font << /H << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    objects.append(
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources " + resources % 5 + b" >>"
    )
    objects.append(_stream(b"", b"/F Do"))
    for level in range(depth):
        last = level == depth - 1
        draws = b"BT /H 9 Tf 50 50 Td (seal) Tj ET " if last and not itself else b"/F Do " * width
        child = 5 + level if itself else 6 + level
        about = b"/Type /XObject /Subtype /Form /BBox [0 0 600 800] /Resources " + resources % child
        objects.append(_stream(about, draws))
    return _pdf(objects)


def _packed_page() -> bytes:
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R >>",
        _stream(b"/Filter /FlateDecode", zlib.compress(b" " * 300_000_000, 9)),
    ]  # fmt: skip
    return _pdf(objects)


def _stream(about: bytes, content: bytes) -> bytes:
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(content), about, content)


def _pdf(objects: list[bytes]) -> bytes:
    target = BytesIO(b"%PDF-1.7\n")
    target.seek(0, 2)
    places = []
    for number, content in enumerate(objects, 1):
        places.append(target.tell())
        target.write(b"%d 0 obj\n%s\nendobj\n" % (number, content))
    start = target.tell()
    target.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    target.writelines(b"%010d 00000 n \n" % place for place in places)
    target.write(b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start))
    return target.getvalue()


def _substitutions() -> bytes:
    lines = [b".. |s0| replace:: a a"] + [b".. |s%d| replace:: |s%d| |s%d|" % (n, n - 1, n - 1) for n in range(1, 30)]
    return b"|s29|\n\n" + b"\n".join(lines) + b"\n"


def _nested_docx() -> bytes:
    from docx import Document

    document = Document()
    cell = document.add_table(2, 2).cell(0, 0)
    for _ in range(40):
        cell = cell.add_table(2, 2).cell(0, 0)
    cell.text = _TEXT
    target = BytesIO()
    document.save(target)
    return target.getvalue()


def _png(side: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    packer = zlib.compressobj(9)
    row = bytes(side // 8 + 1)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = side.to_bytes(4, "big") * 2 + b"\x01\x00\x00\x00\x00"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
