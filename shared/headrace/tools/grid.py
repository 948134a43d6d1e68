"""The tables of a document, from its stored parts: rows with their labels, each with the part that it stands in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser

from headrace.types import Chunk


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its cells by label, and its part."""

    cells: dict[str, str]
    chunk: Chunk


@dataclass(slots=True)
class Table:
    """The rows under one heading that have the same labels. `unread` are those that could not be told apart into cells."""

    labels: tuple[str, ...]
    section: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    unread: int = 0


def tables_of(chunks: Sequence[Chunk]) -> list[Table]:
    """The document's tables, in reading order. A table without labels has its columns' numbers for labels."""
    tables: dict[tuple[tuple[str, ...], tuple[str, ...]], Table] = {}
    for chunk in chunks:
        if not chunk.html:
            continue
        for labels, rows in _read(chunk.html):
            width = max(map(len, rows), default=0)
            named = _distinct([label or f"column {place}" for place, label in enumerate(labels or [""] * width, 1)])
            table = tables.setdefault((named, chunk.section), Table(named, chunk.section))
            table.rows += [Row(dict(zip(named, row, strict=False)), chunk) for row in rows]
    for chunk in chunks:
        if not chunk.html:
            _count_unread(chunk, list(tables.values()))
    return list(tables.values())


def _distinct(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels, of which a later one that is the same has its number behind it."""
    return tuple(
        label if (before := labels[:place].count(label)) == 0 else f"{label} ({before + 1})"
        for place, label in enumerate(labels)
    )


def _count_unread(chunk: Chunk, tables: Sequence[Table]) -> None:
    """What is too long for a part, or too wide, is stored as text alone: its lines begin with a table's first label."""
    for table in tables:
        if table.section == chunk.section:
            begins = f"{table.labels[0]}: "
            table.unread += sum(line.startswith(begins) for line in chunk.text.split("\n"))


def _read(html: str) -> list[tuple[list[str], list[list[str]]]]:
    """Each table's labels and rows, as chunking wrote them (functions.ingest.chunk)."""
    reader = _Reader()
    reader.feed(html)
    return reader.tables


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tables: list[tuple[list[str], list[list[str]]]] = []
        self._row: list[str] = []
        self._is_head = False

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - there are none
        match tag:
            case "table":
                self.tables.append(([], []))
            case "tr":
                self._row, self._is_head = [], False
            case "th" | "td":
                self._row.append("")
                self._is_head = self._is_head or tag == "th"

    def handle_data(self, data: str) -> None:
        if self._row:
            self._row[-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr":
            labels, rows = self.tables[-1]
            if self._is_head:
                labels += self._row
            else:
                rows.append(self._row)
            self._row = []
