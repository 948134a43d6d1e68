"""Rows of a table of any format to blocks: each one says `label: value; label: value`, in whatever chunk it ends up."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice

from headrace.parsers.grid import Row
from headrace.parsers.headers import Layout, layout_of
from headrace.types import Block

# A table's beginning, by which its header is told.
ROWS_TO_SEE = 40
MAX_TITLE_CHARACTERS = 120


def read_rows(rows: Iterable[Row], *, page: int | None = None, section: tuple[str, ...] = ()) -> Iterator[Block]:
    """A block a row, as the rows come; a title above a table is a block, and a level of its section."""
    reader = _Reader(page, section)
    for is_filled, group in groupby(rows, key=lambda row: bool(row.cells)):
        if is_filled:
            yield from reader.read(group)


@dataclass
class _Reader:
    """Reads rows that no empty row parts: titles, then a table, then another one where the width changes."""

    page: int | None
    section: tuple[str, ...]
    last: Layout | None = None
    # The title that the next table is below, and the row across all columns that its next rows are below.
    title: tuple[str, ...] = ()
    heading: tuple[str, ...] = ()
    rows_below: bool = False

    def read(self, group: Iterable[Row]) -> Iterator[Block]:
        rows = iter(group)
        ahead = deque(islice(rows, ROWS_TO_SEE))
        while ahead:
            layout = layout_of(list(ahead), self.last)
            self.heading = ()
            for _ in range(layout.titles):
                yield self._title(ahead.popleft())
            for _ in range(layout.headers):
                ahead.popleft()
            self.last = layout if layout.labels else None
            begun = False
            while ahead and not (begun and layout.begins_another(ahead[0])):
                begun = True
                yield from self._row(ahead.popleft(), layout)
                ahead.extend(islice(rows, 1))
            ahead.extend(islice(rows, ROWS_TO_SEE - len(ahead)))

    def _title(self, row: Row) -> Block:
        """A row above a table. The first of one cell is its title; a pair is a key and its value."""
        text = _joined(row.texts, is_pair=len(row.texts) == 2)
        is_title = len(row.texts) == 1 and len(text) <= MAX_TITLE_CHARACTERS and any(map(str.isalpha, text))
        if is_title and (self.rows_below or not self.title):
            self.title, self.rows_below = (text,), False
        return self._block(text, row, ())

    def _row(self, row: Row, layout: Layout) -> Iterator[Block]:
        if not layout.labels and not layout.is_pairs and len(row.texts) == 1:
            # A line above, below, or beside tables.
            yield self._title(row)
            return
        self.rows_below = True
        if layout.labels and all(layout.labels.get(column) == text for column, text in row.cells.items()):
            # The header again, as it is printed on each page.
            return
        if len(row.texts) == 1 and row.spanned and row.spanned | {min(row.cells)} >= layout.labels.keys():
            self.heading = row.texts if len(row.texts[0]) <= MAX_TITLE_CHARACTERS else ()
            yield self._block(row.texts[0], row, ())
        elif len(layout.labels) > 2 and len(row.cells) == 1:
            # A source, a remark, or what the next rows are about: hardly a value of the first column.
            yield self._block(row.texts[0], row, ())
        elif layout.is_pairs or (not layout.labels and row.marked == {min(row.cells)}):
            # A key and its value, or a row that begins with its own name.
            cells = tuple(("", text) for text in row.texts)
            yield self._block(_joined(row.texts, is_pair=True), row, cells)
        else:
            text, cells = _labelled(row, layout)
            yield self._block(text, row, cells)

    def _block(self, text: str, row: Row, cells: tuple[tuple[str, str], ...]) -> Block:
        return Block(text, self.page, (*self.section, *self.title, *self.heading), cells, row.spot)


def _labelled(row: Row, layout: Layout) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The row's text and cells. A value that spans columns is given once, under all their names."""
    cells: list[tuple[str, str]] = []
    for column in sorted({*layout.labels, *row.cells}):
        label, value = layout.labels.get(column, ""), row.cells.get(column, "")
        if column in row.spanned and cells:
            before, value = cells.pop()
            label = " / ".join(filter(None, (before, label)))
        cells.append((label, value))
    said = [(label, value) for label, value in cells if value]
    text = ""
    for label, value in said:
        # A key that brings its colon along stands with its value.
        text += ("" if not text else " " if text.endswith(":") else "; ") + (f"{label}: {value}" if label else value)
    return text, tuple(cells)


def _joined(texts: tuple[str, ...], *, is_pair: bool) -> str:
    if is_pair and len(texts) > 1:
        return f"{texts[0].rstrip(': ')}: {'; '.join(texts[1:])}"
    return "; ".join(texts)
