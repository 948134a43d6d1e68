"""Comma-, semicolon-, tab- and bar-separated values to blocks. Runs in the parser's process.

Python's own reader goes row by row, where unstructured's loads pandas (57 MB, 2 s) and drops the headers from all chunks but
the first.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from headrace.errors import DocumentError
from headrace.parsers.grid import plain_row
from headrace.parsers.tables import read_rows
from headrace.types import Block

SNIFF_CHARACTERS = 16_384
SEPARATORS = ",;\t|"
# Excel's own first line: which separator follows.
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)


def read_csv(text: str) -> Iterator[Block]:
    """A block a row of comma-, semicolon-, tab- or bar-separated values."""
    csv.field_size_limit(10_000_000)
    text = text.removeprefix("\ufeff")
    said = _SEPARATOR_LINE.match(text)
    lines = io.StringIO(text, newline="")
    lines.seek(said.end() if said else 0)
    try:
        rows = csv.reader(lines, _dialect(said[1] if said else "", text[:SNIFF_CHARACTERS]))
        yield from read_rows(plain_row(row, spot=f"row {number}") for number, row in enumerate(rows, 2 if said else 1))
    except csv.Error as error:
        raise DocumentError(f"The file can't be read as a table: {error}. Export it anew.") from error


def _dialect(said: str, sample: str) -> type[csv.Dialect]:
    """How the file is written: as it says, or as its lines look, preambles aside."""

    class Told(csv.excel):
        delimiter = said or _separator(sample)

    return Told


def _separator(sample: str) -> str:
    """The separator that most lines have equally often."""
    lines = [line for line in re.sub(r'"[^"]*"', "", sample).splitlines()[:200] if line.strip()]
    counts = {mark: [line.count(mark) for line in lines if mark in line] for mark in SEPARATORS}
    scores = {
        mark: max((found.count(number), number) for number in set(found)) for mark, found in counts.items() if found
    }
    return max(scores, key=lambda mark: scores[mark]) if scores else ","
