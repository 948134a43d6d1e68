"""Random documents whose every word is known, written in each format that has text, headings, lists and tables.

A word is there once; so what a reader loses, repeats, reorders, or puts under a wrong label can be told.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import escape
from typing import Any

import openpyxl
from docx import Document
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from pptx import Presentation
from pptx.util import Inches

from tests.support.files import saved, zipped

CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
NOTHING_BUT_TABLES = frozenset({"csv", "xlsx"})


@dataclass
class Table:
    """`labels` are the names of its columns, by parts where several header rows give them; `rows` its values."""

    labels: list[tuple[str, ...]]
    rows: list[list[str]]
    # Rows whose first cell is the one above them.
    spanned: set[int] = field(default_factory=set)
    title: str = ""
    is_pairs: bool = False

    def expected(self) -> Iterator[dict[str, str]]:
        """What each row says: value to label."""
        for number, row in enumerate(self.rows):
            if self.is_pairs:
                yield {row[1]: row[0]}
                continue
            first = next(self.rows[up][0] for up in range(number, -1, -1) if up not in self.spanned)
            yield dict(zip([first, *row[1:]], (" · ".join(label) for label in self.labels), strict=True))


@dataclass
class Part:
    """A heading, paragraph, list, code, or table; `hidden` is what nobody sees."""

    kind: str
    words: list[str] = field(default_factory=list)
    items: list[list[str]] = field(default_factory=list)
    table: Table | None = None
    level: int = 1
    hidden: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join(self.words)

    @property
    def texts(self) -> list[list[str]]:
        """The words of a paragraph, or of each item."""
        return [self.words] if self.words else self.items


class Words:
    """Words that are nowhere twice."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self._seen: set[str] = set()

    def word(self) -> str:
        while True:
            syllables = (
                self.chance.choice(CONSONANTS) + self.chance.choice(VOWELS) for _ in range(self.chance.randint(3, 5))
            )
            word = "".join(syllables)
            if word not in self._seen and not any(word in other or other in word for other in self._seen):
                self._seen.add(word)
                return word

    def words(self, low: int, high: int) -> list[str]:
        return [self.word() for _ in range(self.chance.randint(low, high))]

    def number(self) -> str:
        while True:
            number = str(self.chance.randint(1000, 999_999))
            if number not in self._seen and not 1900 <= int(number) <= 2099:
                self._seen.add(number)
                return number


def document(seed: int) -> list[Part]:
    """A document of some parts, the same for the same seed."""
    chance = random.Random(seed)
    words = Words(chance)
    parts = [Part("heading", words.words(1, 4), level=1)]
    for _ in range(chance.randint(2, 6)):
        match chance.choice(["heading", "paragraph", "paragraph", "list", "ordered", "code", "table", "table"]):
            case "heading":
                parts.append(Part("heading", words.words(1, 4), level=chance.randint(1, 3)))
            case "list" | "ordered" as kind:
                parts.append(Part(kind, items=[words.words(1, 5) for _ in range(chance.randint(2, 4))]))
            case "table":
                parts.append(Part("table", table=_table(words)))
            case kind:
                hidden = words.words(1, 3) if chance.random() < 0.4 else []
                parts.append(Part(kind, words.words(2, 12), hidden=hidden if kind == "paragraph" else []))
    return parts


def _table(words: Words) -> Table:
    chance = words.chance
    if chance.random() < 0.25:
        kinds = [words.number, words.word]
        rows = [[words.word(), kinds[number % 2]()] for number in range(chance.randint(3, 5))]
        return Table([], rows, is_pairs=True)
    columns, count = chance.randint(2, 5), chance.randint(2, 6)
    rows = [[words.word(), *(words.number() for _ in range(columns - 1))] for _ in range(count)]
    labels: list[tuple[str, ...]] = [(words.word(),) for _ in range(columns)]
    if columns == 5 and chance.random() < 0.6:
        upper = [words.word(), words.word()]
        labels = [labels[0], *((upper[number // 2], labels[number + 1][0]) for number in range(4))]
    spanned = {number for number in range(1, count) if chance.random() < 0.25}
    return Table(labels, rows, spanned, title=words.word() if chance.random() < 0.3 else "")


def visible(parts: list[Part]) -> list[str]:
    """The words outside tables, in their order."""
    return [word for part in parts for words in part.texts for word in words]


def written(parts: list[Part], kind: str) -> bytes:
    """The document in a format, by its name's ending."""
    return WRITERS[kind](parts)


def _html(parts: list[Part]) -> bytes:
    return f"<html><head><title>t</title></head><body>{''.join(map(_html_part, parts))}</body></html>".encode()


def _html_part(part: Part) -> str:
    hidden = f'<p style="display:none">{" ".join(part.hidden)}</p>' if part.hidden else ""
    wrap = (
        "<div>{}</div>",
        "<section>{}</section>",
        "<figure>{}</figure>",
        "<form>{}</form>",
        "<x-box>{}</x-box>",
        "{}",
    )
    match part.kind:
        case "heading":
            return f"<h{part.level}>{part.text}</h{part.level}>"
        case "paragraph":
            half = len(part.words) // 2
            text = f"{' '.join(part.words[:half])} <b>{' '.join(part.words[half:])}</b>"
            return hidden + wrap[len(part.text) % len(wrap)].format(f"<p>{text}</p>")
        case "code":
            return f"<pre>{part.text}</pre>"
        case "list" | "ordered":
            tag = "ul" if part.kind == "list" else "ol"
            items = "".join(f"<li>{' '.join(item)}</li>" for item in part.items)
            return f"<{tag}>{items}</{tag}>"
    assert part.table
    return _html_table(part.table)


def _html_table(table: Table) -> str:
    head = ""
    title = f"<caption>{table.title}</caption>" if table.title else ""
    if table.labels and any(len(label) > 1 for label in table.labels):
        upper = f'<th rowspan="2">{table.labels[0][0]}</th>' + "".join(
            f'<th colspan="2">{table.labels[at][0]}</th>' for at in (1, 3)
        )
        head = f"<tr>{upper}</tr><tr>{''.join(f'<th>{label[1]}</th>' for label in table.labels[1:])}</tr>"
    elif table.labels:
        head = f"<tr>{''.join(f'<th>{label[0]}</th>' for label in table.labels)}</tr>"
    rows = []
    for number, row in enumerate(table.rows):
        span = 1
        while number + span in table.spanned:
            span += 1
        tag = "th" if table.is_pairs else "td"
        first = "" if number in table.spanned else f'<{tag} rowspan="{span}">{row[0]}</{tag}>'
        rows.append(f"<tr>{first}{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>")
    return f"<table>{title}{head}{''.join(rows)}</table>"


def _markdown(parts: list[Part]) -> bytes:
    texts = []
    for part in parts:
        match part.kind:
            case "heading":
                texts.append(f"{'#' * part.level} {part.text}")
            case "paragraph":
                half = len(part.words) // 2
                comment = f"<!-- {' '.join(part.hidden)} -->\n\n" if part.hidden else ""
                texts.append(f"{comment}{' '.join(part.words[:half])} **{' '.join(part.words[half:])}**".strip())
            case "code":
                texts.append(f"```\n{part.text}\n```")
            case "list" | "ordered":
                texts.append(_listed(part, "1."))
            case "table":
                assert part.table
                # Markdown has tables of one header row alone; others are written in HTML.
                texts.append(_markdown_table(part.table) if _is_simple(part.table) else _html_table(part.table))
    return "\n\n".join(texts).encode()


def _listed(part: Part, number: str) -> str:
    """A list, an item a line, with the mark of a numbered one."""
    mark = "-" if part.kind == "list" else number
    return "\n".join(f"{mark} {' '.join(item)}" for item in part.items)


def _markdown_table(table: Table) -> str:
    lines = [[label[0] for label in table.labels], ["---"] * len(table.labels), *table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _is_simple(table: Table) -> bool:
    return not (table.is_pairs or table.spanned or table.title or any(len(label) > 1 for label in table.labels))


def _org(parts: list[Part]) -> bytes:
    texts = []
    for part in parts:
        match part.kind:
            case "heading":
                texts.append(f"{'*' * part.level} {part.text}")
            case "code":
                texts.append(f"#+BEGIN_SRC sh\n{part.text}\n#+END_SRC")
            case "list" | "ordered":
                texts.append(_listed(part, "1."))
            case "table":
                assert part.table
                lines = [] if part.table.is_pairs else [_flat_labels(part.table), None]
                rows = [
                    f"| {' | '.join(line)} |" if line else "|---+---|" for line in (*lines, *_flat_rows(part.table))
                ]
                texts.append("\n".join([part.table.title, *rows]).strip())
            case _:
                texts.append((f"# {' '.join(part.hidden)}\n" if part.hidden else "") + part.text)
    return "\n\n".join(texts).encode()


def _rst(parts: list[Part]) -> bytes:
    texts = []
    for part in parts:
        match part.kind:
            case "heading":
                texts.append(f"{part.text}\n{'=-~'[0] * (len(part.text) + 2)}")
            case "code":
                texts.append(f"::\n\n    {part.text}")
            case "list" | "ordered":
                texts.append(_listed(part, "#."))
            case "table":
                assert part.table
                rows = _flat_rows(part.table)
                lines = rows if part.table.is_pairs else [_flat_labels(part.table), *rows]
                head = "" if part.table.is_pairs else "   :header-rows: 1\n"
                body = "\n".join("   * - " + "\n     - ".join(line) for line in lines)
                texts.append(f"{part.table.title}\n\n.. list-table::\n{head}\n{body}")
            case _:
                texts.append((f".. {' '.join(part.hidden)}\n\n" if part.hidden else "") + part.text)
    return "\n\n".join(texts).encode()


def _flat_labels(table: Table) -> list[str]:
    return [" · ".join(label) for label in table.labels]


def _flat_rows(table: Table) -> list[list[str]]:
    """The rows for a format whose cells can't span."""
    rows = []
    for number, row in enumerate(table.rows):
        first = next(table.rows[up][0] for up in range(number, -1, -1) if up not in table.spanned)
        rows.append([first, *row[1:]])
    return rows


def _docx(parts: list[Part]) -> bytes:
    made = Document()
    for number, part in enumerate(parts):
        match part.kind:
            case "heading":
                made.add_heading(part.text, part.level)
            case "list" | "ordered":
                for item in part.items:
                    made.add_paragraph(" ".join(item), style="List Bullet" if part.kind == "list" else "List Number")
            case "table":
                assert part.table
                _docx_table(made, part.table)
            case _:
                _docx_paragraph(made, part, number)
    return saved(made.save)


def _docx_paragraph(made: Any, part: Part, number: int) -> None:
    """A paragraph, a half of which stands in one of the ways that python-docx passes over."""
    paragraph = made.add_paragraph()
    half = len(part.words) // 2
    paragraph.add_run(" ".join(part.words[:half]) + " ")
    run = f"<w:r><w:t>{' '.join(part.words[half:])}</w:t></w:r>"
    ways = ("{}", "<w:ins w:id='1' w:author='a'>{}</w:ins>", "<w:sdt><w:sdtContent>{}</w:sdtContent></w:sdt>",
            "<w:fldSimple w:instr='REF x'>{}</w:fldSimple>", "<w:smartTag w:element='x'>{}</w:smartTag>")  # fmt: skip
    paragraph._p.append(parse_xml(f"<w:p {nsdecls('w')}>{ways[number % len(ways)].format(run)}</w:p>")[0])
    if part.hidden:
        gone = (
            "<w:r><w:rPr><w:vanish/></w:rPr><w:t>{}</w:t></w:r>",
            "<w:del w:id='2' w:author='a'><w:r><w:delText>{}</w:delText></w:r></w:del>",
        )
        text = gone[number % 2].format(" ".join(part.hidden))
        paragraph._p.append(parse_xml(f"<w:p {nsdecls('w')}>{text}</w:p>")[0])


def _docx_table(made: Any, table: Table) -> None:
    if table.title:
        made.add_paragraph(table.title)
    lines = _grid(table)
    grid = made.add_table(rows=len(lines), cols=len(lines[-1]))
    for r, line in enumerate(lines):
        for c, text in enumerate(line):
            if text:
                grid.cell(r, c).text = text
    for top, left, bottom, right in _merges(table):
        grid.cell(top, left).merge(grid.cell(bottom, right))


def _grid(table: Table) -> list[list[str]]:
    """The table's cells, those that another one covers empty."""
    heads: list[list[str]] = []
    if table.labels and any(len(label) > 1 for label in table.labels):
        heads = [
            [table.labels[0][0], table.labels[1][0], "", table.labels[3][0], ""],
            ["", *(label[1] for label in table.labels[1:])],
        ]
    elif table.labels:
        heads = [[label[0] for label in table.labels]]
    rows = [["" if number in table.spanned else row[0], *row[1:]] for number, row in enumerate(table.rows)]
    return [*heads, *rows]


def _merges(table: Table) -> Iterator[tuple[int, int, int, int]]:
    """The merged areas of that grid: top, left, bottom, right."""
    depth = len(_grid(table)) - len(table.rows)
    if depth == 2:
        yield from ((0, 0, 1, 0), (0, 1, 0, 2), (0, 3, 0, 4))
    number = 0
    while number < len(table.rows):
        end = number
        while end + 1 in table.spanned:
            end += 1
        if end > number:
            yield depth + number, 0, depth + end, 0
        number = end + 1


def _odt(parts: list[Part]) -> bytes:
    body = []
    for part in parts:
        match part.kind:
            case "heading":
                body.append(f'<text:h text:outline-level="{part.level}">{part.text}</text:h>')
            case "list" | "ordered":
                items = "".join(
                    f"<text:list-item><text:p>{' '.join(item)}</text:p></text:list-item>" for item in part.items
                )
                body.append(f"<text:list>{items}</text:list>")
            case "table":
                assert part.table
                body.append(_odt_table(part.table))
            case _:
                half = len(part.words) // 2
                gone = (
                    f"<text:tracked-changes><text:p>{' '.join(part.hidden)}</text:p></text:tracked-changes>"
                    if part.hidden
                    else ""
                )
                span = f"{' '.join(part.words[:half])}<text:s/><text:span>{' '.join(part.words[half:])}</text:span>"
                body.append(f"{gone}<text:p>{span}</text:p>")
    names = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "text", "table", "style")
    )
    content = f"<office:document-content {names}><office:body><office:text>{''.join(body)}</office:text></office:body></office:document-content>"
    return zipped({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": content})


def _odt_table(table: Table) -> str:
    merges = {(top, left): (bottom - top + 1, right - left + 1) for top, left, bottom, right in _merges(table)}
    title = f"<text:p>{table.title}</text:p>" if table.title else ""
    rows = []
    covered: set[tuple[int, int]] = set()
    for r, line in enumerate(_grid(table)):
        cells = []
        for c, text in enumerate(line):
            if (r, c) in covered:
                cells.append("<table:covered-table-cell/>")
                continue
            down, across = merges.get((r, c), (1, 1))
            covered |= {(r + i, c + j) for i in range(down) for j in range(across)}
            spans = f'table:number-rows-spanned="{down}" table:number-columns-spanned="{across}"'
            cells.append(f"<table:table-cell {spans}><text:p>{text}</text:p></table:table-cell>")
        rows.append(f"<table:table-row>{''.join(cells)}</table:table-row>")
    return f"{title}<table:table>{''.join(rows)}</table:table>"


def _epub(parts: list[Part]) -> bytes:
    container = '<container><rootfiles><rootfile full-path="book.opf"/></rootfiles></container>'
    package = '<package><manifest><item id="c" href="c.xhtml"/></manifest><spine><itemref idref="c"/></spine></package>'
    return zipped({
        "mimetype": "application/epub+zip", "META-INF/container.xml": container, "book.opf": package, "c.xhtml": _html(parts),
    })  # fmt: skip


def _eml(parts: list[Part]) -> bytes:
    head = b"From: a@example.org\nSubject: x\nMIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
    return head + base64.encodebytes(_html(parts))


def _pptx(parts: list[Part]) -> bytes:
    """A slide for each part, under a title of its own where that is a heading."""
    deck = Presentation()
    for part in parts:
        slide = deck.slides.add_slide(deck.slide_layouts[5 if part.kind == "heading" else 6])
        if part.kind == "heading":
            slide.shapes.title.text = part.text
        elif part.table:
            lines = _flat_grid(part.table)
            slide.shapes.add_textbox(Inches(1), Inches(1), Inches(8), Inches(1)).text_frame.text = part.table.title
            shape = slide.shapes.add_table(len(lines), len(lines[-1]), Inches(1), Inches(2), Inches(8), Inches(4))
            for r, line in enumerate(lines):
                for c, text in enumerate(line):
                    shape.table.cell(r, c).text = text
        else:
            frame = slide.shapes.add_textbox(Inches(1), Inches(2), Inches(8), Inches(4)).text_frame
            texts = part.texts
            for number, words in enumerate(texts):
                paragraph = frame.paragraphs[0] if not number else frame.add_paragraph()
                paragraph.text = " ".join(words)
    return saved(deck.save)


def _flat_grid(table: Table) -> list[list[str]]:
    return _flat_rows(table) if table.is_pairs else [_flat_labels(table), *_flat_rows(table)]


def _csv(parts: list[Part]) -> bytes:
    """The tables, parted by empty lines."""
    blocks = []
    for part in parts:
        if part.table:
            title = [[part.table.title]] if part.table.title else []
            blocks.append("\n".join(";".join(line) for line in (*title, *_flat_grid(part.table))))
    return ("\n\n".join(blocks) + "\n").encode()


def _xlsx(parts: list[Part]) -> bytes:
    """A sheet for each table, with merged cells, as numbers where they are."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, part in enumerate(part for part in parts if part.table):
        assert part.table
        sheet = book.create_sheet(f"S{number}")
        above = 0
        if part.table.title:
            sheet.cell(1, 1, part.table.title)
            above = 2
        for r, line in enumerate(_grid(part.table)):
            for c, text in enumerate(line):
                if text:
                    sheet.cell(r + 1 + above, c + 1, int(text) if text.isdigit() else text)
        for top, left, bottom, right in _merges(part.table):
            sheet.merge_cells(
                start_row=top + 1 + above, start_column=left + 1, end_row=bottom + 1 + above, end_column=right + 1
            )
    if not book.worksheets:
        book.create_sheet("empty").cell(1, 1, "empty")
    return saved(book.save)


def _json(parts: list[Part]) -> bytes:
    return json.dumps({"pages": {"parts": [{"kind": part.kind, "texts": part.texts} for part in parts]}}).encode()


def _xml(parts: list[Part]) -> bytes:
    pages = []
    for part in parts:
        texts = part.texts
        inner = "".join(f"<t>{escape(' '.join(words))}</t>" for words in texts)
        pages += [f"<{part.kind}>{inner}</{part.kind}>"] if texts else []
    return f"<pages>{''.join(pages)}</pages>".encode()


def _text(parts: list[Part]) -> bytes:
    return "\n\n".join(" ".join(words) for part in parts for words in part.texts).encode()


def _rtf(parts: list[Part]) -> bytes:
    paragraphs = "".join(f"{' '.join(words)}\\par " for part in parts for words in part.texts)
    return f"{{\\rtf1\\ansi {paragraphs}}}".encode()


WRITERS: dict[str, Callable[[list[Part]], bytes]] = {
    "html": _html, "md": _markdown, "org": _org, "rst": _rst, "docx": _docx, "pptx": _pptx, "odt": _odt, "epub": _epub,
    "eml": _eml, "csv": _csv, "xlsx": _xlsx, "json": _json, "xml": _xml, "txt": _text, "rtf": _rtf,
}  # fmt: skip
# Formats whose tables come with them, with their spans or spread out.
WITH_TABLES = frozenset("html md org rst docx pptx odt epub eml csv xlsx".split())
