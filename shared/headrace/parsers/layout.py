"""Where text stands on a page, and what that makes of it: lines in reading order, columns one after the other, tables as rows.

Works on the pieces of lines that PDFium tells apart, with their boxes in points; y grows upwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from headrace.parsers.grid import Row, sparse_row

# In heights of a line: a gap that parts pieces of a row, and one that parts what stands below each other.
GAP = 1.2
FAR = 3.5
# Rows that a gap between columns runs through.
ENOUGH_ROWS = 3
WORDS_OF_PROSE = 3
MOST_COLUMNS_OF_PROSE = 3


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a line and its box."""

    text: str
    left: float
    bottom: float
    right: float
    top: float

    @property
    def height(self) -> float:
        return max(self.top - self.bottom, 1.0)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that stand in columns."""

    rows: tuple[Row, ...]
    top: float


Line = list[Piece]
# A line's pieces by the columns that they stand in.
Cells = dict[int, Piece]
Span = tuple[float, float]


def arranged(pieces: Iterable[Piece]) -> Iterator[Piece | Table | None]:
    """The page's lines and tables as they are read. None stands where one column ends and the next begins."""
    lines = [_joined(line) for line in _lines(pieces)]
    start = 0
    while start < len(lines):
        end, gutters = _band(lines, start)
        band = [_by_column(line, gutters) for line in lines[start:end]]
        is_prose = _is_prose(band, gutters)
        if not is_prose:
            # What stands in one column alone, below a table's last row, is no part of it.
            while band and len(band[-1]) < 2:
                band.pop()
        if sum(len(cells) > 1 for cells in band) < ENOUGH_ROWS:
            yield _whole(lines[start])
            start += 1
            continue
        if is_prose:
            yield from _column_by_column(band, len(gutters) + 1)
        else:
            rows = (sparse_row((column, piece.text) for column, piece in cells.items()) for cells in band)
            yield Table(tuple(rows), lines[start][0].top)
        start += len(band)


def _column_by_column(band: Sequence[Cells], columns: int) -> Iterator[Piece | None]:
    for column in range(columns):
        yield None
        yield from (cells[column] for cells in band if column in cells)
    yield None


def _lines(pieces: Iterable[Piece]) -> list[Line]:
    """Pieces that stand beside each other, from top to bottom, each line from left to right."""
    lines: list[Line] = []
    for piece in sorted(pieces, key=lambda piece: -(piece.top + piece.bottom)):
        last = lines[-1][0] if lines else None
        if last and min(last.top, piece.top) - max(last.bottom, piece.bottom) > 0.5 * min(last.height, piece.height):
            lines[-1].append(piece)
        else:
            lines.append([piece])
    return [sorted(line, key=lambda piece: piece.left) for line in lines]


def _joined(line: Line) -> Line:
    """The line with pieces joined that only a space, or nothing, parts: a bold word, a link."""
    joined: Line = []
    for piece in line:
        if joined and piece.left - joined[-1].right < GAP * max(piece.height, joined[-1].height):
            joined[-1] = _both(joined[-1], piece)
        else:
            joined.append(piece)
    return joined


def _both(one: Piece, other: Piece) -> Piece:
    parting = "" if other.left - one.right < 0.1 * one.height or one.text.endswith(" ") else " "
    text = f"{one.text}{parting}{other.text}"
    return Piece(text, one.left, min(one.bottom, other.bottom), other.right, max(one.top, other.top))


def _whole(line: Line) -> Piece:
    whole = line[0]
    for piece in line[1:]:
        whole = _both(whole, piece)
    return whole


def _band(lines: Sequence[Line], start: int) -> tuple[int, list[Span]]:
    """The lines from here on that the same gaps run through, and these gaps."""
    gutters = [(one.right, other.left) for one, other in zip(lines[start], lines[start][1:], strict=False)]
    end = start + 1
    while gutters and end < len(lines):
        line, above = lines[end], lines[end - 1]
        if above[0].bottom - line[0].top > FAR * line[0].height:
            break
        narrowed = [part for gutter in gutters for part in _left_over(gutter, line)]
        # A line that runs across a gap that all others keep ends the columns.
        if len(narrowed) < len(gutters):
            break
        gutters = narrowed
        end += 1
    return end, gutters


def _left_over(gutter: Span, line: Line) -> list[Span]:
    """What of a gap no piece of the line covers, where it is still a gap."""
    parts = [gutter]
    for piece in line:
        parts = (
            [
                part
                for left, right in parts
                for part in ((left, min(right, piece.left)), (max(left, piece.right), right))
                if part[1] > part[0]
            ]
            if piece.right > gutter[0] and piece.left < gutter[1]
            else parts
        )
    height = line[0].height
    return [(left, right) for left, right in parts if right - left >= 0.6 * height]


def _by_column(line: Line, gutters: Sequence[Span]) -> Cells:
    """The line's pieces by the columns that they stand in."""
    cells: Cells = {}
    for piece in line:
        column = sum(right <= piece.left + 0.5 for _, right in gutters)
        cells[column] = _both(cells[column], piece) if column in cells else piece
    return cells


def _is_prose(band: Sequence[Cells], gutters: Sequence[Span]) -> bool:
    """Whether columns are text to be read one after the other: few of them, lines of several words that fill them."""
    columns: dict[int, list[float]] = {}
    for cells in band:
        for column, piece in cells.items():
            columns.setdefault(column, []).append(piece.right - piece.left)
    if not 0 < len(gutters) < MOST_COLUMNS_OF_PROSE or len(band) < ENOUGH_ROWS + 1:
        return False
    words = median(len(piece.text.split()) for cells in band for piece in cells.values())
    full = [sum(width > 0.7 * max(widths) for width in widths) / len(widths) for widths in columns.values()]
    return words >= WORDS_OF_PROSE and min(full) > 0.6
