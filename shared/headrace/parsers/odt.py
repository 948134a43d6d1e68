"""OpenDocument texts to blocks: headings, paragraphs, lists, tables, notes, frames. Runs in the parser's process.

Reference: https://docs.oasis-open.org/office/OpenDocument/v1.3/os/part3-schema/OpenDocument-v1.3-os-part3-schema.html
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from lxml import etree

from headrace.errors import DocumentError
from headrace.parsers.archives import PROTECTED, local_name, part_of, xml_of
from headrace.parsers.html import read_html
from headrace.types import Block

MAX_DEPTH = 100
MOST_REPEATED = 1_000
# What isn't the text's own: what was deleted, tables of contents, declarations.
SKIPPED = frozenset(
    "tracked-changes sequence-decls variable-decls user-field-decls table-of-content forms scripts font-face-decls automatic-styles".split()
)
# Parts of a paragraph that are read after it, as blocks of their own.
LIFTED = frozenset("note annotation text-box table title desc".split())


def read_odt(path: Path) -> Iterator[Block]:
    """The text's blocks; header and footer come once, at the end."""
    with zipfile.ZipFile(path) as archive:
        if b"encryption-data" in part_of(archive, "META-INF/manifest.xml", missing=b""):
            raise DocumentError(PROTECTED)
        content = xml_of(part_of(archive, "content.xml"))
        styles = part_of(archive, "styles.xml", missing=b"")
    hidden = _hidden_styles(content)
    html = "".join(_Text(hidden).parts(content, 0))
    if styles:
        margins = (part for part in xml_of(styles).iter() if local_name(part) in {"header", "footer"})
        html += "".join(dict.fromkeys("".join(_Text(hidden).parts(margin, 0)) for margin in margins))
    return read_html(html)


class _Text:
    """Makes a page of it. `hidden` are the styles whose text is not shown."""

    def __init__(self, hidden: frozenset[str]) -> None:
        self._hidden = hidden

    def parts(self, element: Any, depth: int) -> Iterator[str]:
        if depth > MAX_DEPTH:
            raise DocumentError("The file is nested too deeply to be read. Flatten it.")
        for child in element:
            name = local_name(child)
            if name == "h":
                level = min(_whole(child, "outline-level"), 6)
                yield from self._paragraph(child, f"h{level}", depth)
            elif name == "p":
                yield from self._paragraph(child, "p", depth)
            elif name == "table":
                yield f"<table>{''.join(self._rows(child, depth))}</table>"
            elif name == "list":
                items = (f"<li>{''.join(self.parts(item, depth + 1))}</li>" for item in child)
                yield f"<ul>{''.join(items)}</ul>"
            elif name not in SKIPPED:
                yield from self.parts(child, depth + 1)

    def _paragraph(self, element: Any, tag: str, depth: int) -> Iterator[str]:
        lifted: list[Any] = []
        text = "".join(self._words(element, lifted))
        if _style(element) not in self._hidden:
            yield f"<{tag}>{text}</{tag}>" if text.strip() else ""
        for part in lifted:
            if local_name(part) in {"title", "desc"}:
                yield f"<p>{escape(part.text or '')}</p>"
            else:
                yield from self.parts([part] if local_name(part) == "table" else part, depth + 1)

    def _words(self, element: Any, lifted: list[Any]) -> Iterator[str]:
        """A paragraph's text: tabs, line breaks and runs of spaces are elements there."""
        yield escape(element.text or "")
        for child in element:
            name = local_name(child)
            if name in LIFTED:
                lifted.append(child)
            elif name in {"tab", "line-break", "s"}:
                yield " "
            elif (
                name not in {"note-citation", "bookmark-ref"}
                and name not in SKIPPED
                and _style(child) not in self._hidden
            ):
                yield from self._words(child, lifted)
            yield escape(child.tail or "")

    def _rows(self, table: Any, depth: int) -> Iterator[str]:
        for child in table:
            name = local_name(child)
            if name == "table-row":
                cells = "".join(self._cell(cell, depth) for cell in child)
                yield f"<tr>{cells}</tr>" if cells else ""
            elif name == "table-header-rows":
                yield f"<thead>{''.join(self._rows(child, depth))}</thead>"
            elif name in {"table-rows", "table-row-group"}:
                yield from self._rows(child, depth)

    def _cell(self, cell: Any, depth: int) -> str:
        # What a cell covers says so in cells of its own, which the grid makes by itself.
        if local_name(cell) != "table-cell":
            return ""
        spans = "".join(
            f' {html}="{_whole(cell, name)}"'
            for html, name in (("colspan", "number-columns-spanned"), ("rowspan", "number-rows-spanned"))
        )
        text = f"<td{spans}>{''.join(self.parts(cell, depth + 1))}</td>"
        return text * min(_whole(cell, "number-columns-repeated"), MOST_REPEATED)


def _hidden_styles(root: Any) -> frozenset[str]:
    """The styles whose text is not shown."""
    properties = (
        part for part in root.iter() if local_name(part) == "text-properties" and _value(part, "display") == "none"
    )
    return frozenset(_value(part.getparent(), "name") for part in properties)


def _style(element: Any) -> str:
    return _value(element, "style-name")


def _value(element: Any, name: str) -> str:
    return next((value for key, value in element.items() if etree.QName(key).localname == name), "")


def _whole(element: Any, name: str) -> int:
    text = _value(element, name)
    return max(int(text), 1) if text.isdigit() else 1
