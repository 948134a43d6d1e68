"""unstructured's elements, as it writes them in JSON, to blocks: titles become section paths, tables rows of a grid.

Reference: https://docs.unstructured.io/open-source/concepts/document-elements
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from headrace.parsers.html import read_html
from headrace.parsers.tables import MAX_TITLE_CHARACTERS
from headrace.types import Block

SKIPPED = frozenset({"PageBreak", "Header", "Footer", "PageNumber"})


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
        rows = [replace(block, page=page) for block in read_html(html, section=section)] if html else []
        yield from rows or [Block(f"E-mail: {text}" if kind == "EmailAddress" else text, page, section)]
