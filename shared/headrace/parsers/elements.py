"""unstructured's elements, as it writes them in JSON, to blocks: titles become section paths, tables `Header: value` rows.

Reference: https://docs.unstructured.io/open-source/concepts/document-elements
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from headrace.parsers.tables import label_rows
from headrace.types import Block

SKIPPED = frozenset({"PageBreak", "Header", "Footer", "PageNumber"})
MAX_TITLE_CHARACTERS = 120


def blocks_of(elements: Iterable[Mapping[str, Any]]) -> Iterator[Block]:
    """The elements' blocks, in their order."""
    path: list[tuple[int, str]] = []
    for element in elements:
        kind, metadata = element.get("type"), element.get("metadata") or {}
        text = " ".join((element.get("text") or "").split())
        if kind in SKIPPED or not text:
            continue
        if kind == "Title":
            depth = metadata.get("category_depth") or 0
            path = [*((d, t) for d, t in path if d < depth), (depth, text[:MAX_TITLE_CHARACTERS])]
        section = tuple(title for _, title in path)
        page = metadata.get("page_number")
        html = metadata.get("text_as_html") if kind == "Table" else None
        rows = list(_rows(html, page, section)) if html else []
        yield from rows or [Block(f"E-mail: {text}" if kind == "EmailAddress" else text, page, section)]


def _rows(html: str, page: int | None, section: tuple[str, ...]) -> Iterator[Block]:
    from lxml import html as lxml_html

    rows = lxml_html.fromstring(html).xpath(".//tr")
    cells = ([cell.text_content() for cell in row.xpath("./td|./th")] for row in rows)
    return label_rows(cells, page=page, section=section)
