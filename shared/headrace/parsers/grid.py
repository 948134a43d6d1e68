"""A table of any format as rows of cells by column, with what spans several of them filled in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

# A cell says for itself how far it spans.
MOST_COLUMNS = 1_000
MOST_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its filled cells by column, from 0, white space tidied. A row without any parts one table from the next.

    `marked` are the columns whose cells the format calls headers, `spanned` those whose cell began further
    left. `spot` is where a person finds the row: `row 12`.
    """

    cells: Mapping[int, str] = field(default_factory=dict)
    spot: str = ""
    marked: frozenset[int] = frozenset()
    spanned: frozenset[int] = frozenset()

    @property
    def texts(self) -> tuple[str, ...]:
        """The cells from left to right, each once."""
        return tuple(text for column, text in self.cells.items() if column not in self.spanned)


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as a format writes it."""

    text: str
    is_header: bool = False
    columns: int = 1
    rows: int = 1


def plain_row(texts: Iterable[str], *, spot: str = "") -> Row:
    """A row of a format whose cells span nothing."""
    return sparse_row(enumerate(texts), spot=spot)


def sparse_row(texts: Iterable[tuple[int, str]], *, spot: str = "") -> Row:
    """A row from columns and texts, as they stand in the file."""
    tidy = sorted((column, " ".join(text.split())) for column, text in texts if text)
    cells = {column: text for column, text in tidy if text}
    return Row(cells, spot)


def spread(rows: Iterable[Iterable[Cell]]) -> Iterator[Row]:
    """Each row with the cells that reach into it from the left and from above.

    Algorithm: https://html.spec.whatwg.org/multipage/tables.html#algorithm-for-processing-rows
    """
    hanging: dict[int, tuple[Cell, int, bool]] = {}
    for row in rows:
        cells: dict[int, Cell] = {}
        spanned = set()
        for column, (cell, left, is_spanned) in list(hanging.items()):
            cells[column] = cell
            spanned |= {column} if is_spanned else set()
            hanging[column] = (cell, left - 1, is_spanned)
            if left == 1:
                del hanging[column]
        column = 0
        for cell in row:
            while column in cells:
                column += 1
            for offset in range(min(cell.columns, MOST_COLUMNS)):
                cells.setdefault(column + offset, cell)
                spanned |= {column + offset} if offset else set()
                if cell.rows > 1:
                    hanging[column + offset] = (cell, min(cell.rows, MOST_ROWS) - 1, offset > 0)
            column += min(cell.columns, MOST_COLUMNS)
        filled = {at: text for at in sorted(cells) if (text := " ".join(cells[at].text.split()))}
        marked = frozenset(at for at in filled if cells[at].is_header)
        yield Row(filled, "", marked, frozenset(spanned & filled.keys()))


@dataclass
class Area:
    """Cells of a sheet that are one: columns and rows from 0, the last ones included. It has the text of its first cell."""

    left: int
    top: int
    right: int
    bottom: int
    text: str = ""


class MergedAreas:
    """A sheet's merged areas, filled in as its rows come."""

    def __init__(self, areas: Iterable[Area]) -> None:
        self._by_row: dict[int, list[Area]] = {}
        for area in areas:
            self._by_row.setdefault(area.top, []).append(area)
        self._open: dict[int, Area] = {}

    def fill(self, number: int, texts: dict[int, str]) -> Row:
        """The row of that number, from 0, with what is merged into it."""
        for area in self._by_row.get(number, ()):
            area.text = texts.get(area.left, "")
            self._open |= dict.fromkeys(range(area.left, area.right + 1), area)
        spanned = set()
        for column, area in list(self._open.items()):
            if area.bottom < number:
                del self._open[column]
                continue
            texts[column] = area.text
            spanned |= {column} if column > area.left else set()
        row = sparse_row(texts.items(), spot=f"row {number + 1}")
        return Row(row.cells, row.spot, spanned=frozenset(spanned & row.cells.keys()))
