"""Spreadsheets and tables: each row as `Header: value; Header: value`. Runs in the parser's process.

So a chunk of a long table still says what its numbers are. csv and openpyxl
read row by row, where unstructured's own readers load pandas (57 MB, 2 s) and
drop the headers from all chunks but the first.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import struct
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from headrace.errors import DocumentError
from headrace.types import Block

SNIFF_CHARACTERS = 16_384


def read_csv(path: Path, *, encoding: str) -> Iterator[Block]:
    """A block a row of a comma-, semicolon- or tab-separated file."""
    csv.field_size_limit(10_000_000)
    try:
        with path.open(encoding=encoding, errors="replace", newline="") as file:
            try:
                dialect: type[csv.Dialect] = csv.Sniffer().sniff(file.read(SNIFF_CHARACTERS), ",;\t|")
            except csv.Error:
                dialect = csv.excel
            file.seek(0)
            yield from label_rows(csv.reader(file, dialect))
    except csv.Error as error:
        raise DocumentError(f"The file can't be read as a table: {error}. Export it anew.") from error


def read_xlsx(path: Path) -> Iterator[Block]:
    """A block a row of every sheet; the sheet's name is its section and its number its page."""
    import openpyxl

    # A file object, because openpyxl trusts a path's ending and the temporary file has none.
    with path.open("rb") as file:
        try:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        except (KeyError, ValueError, zipfile.BadZipFile, OSError) as error:
            raise DocumentError("The workbook can't be opened: the file is damaged. Save it anew.") from error
        for number, sheet in enumerate(book.worksheets, 1):
            rows = map(_cells, sheet.iter_rows(values_only=True))
            yield from label_rows(rows, page=number, section=(sheet.title,))


def read_xls(path: Path) -> Iterator[Block]:
    """The same of an old workbook."""
    import xlrd

    try:
        book = xlrd.open_workbook(str(path), logfile=io.StringIO(), on_demand=True)
    except (xlrd.XLRDError, ValueError, IndexError, struct.error, AssertionError) as error:
        if "encrypted" in str(error):
            raise DocumentError("The workbook is protected by a password. Upload an unprotected copy.") from error
        raise DocumentError("The workbook can't be opened: the file is damaged. Save it anew.") from error
    for number, name in enumerate(book.sheet_names(), 1):
        sheet = book.sheet_by_name(name)
        rows = ([_old_text(cell, book.datemode) for cell in row] for row in sheet.get_rows())
        yield from label_rows(rows, page=number, section=(name,))
        book.unload_sheet(name)


def label_rows(
    rows: Iterable[Sequence[str]], *, page: int | None = None, section: tuple[str, ...] = ()
) -> Iterator[Block]:
    """Each row with the first row's cells as labels; plain rows when the first one labels nothing."""
    filled = (tidy for tidy in ([" ".join(cell.split()) for cell in row] for row in rows) if any(tidy))
    header = next(filled, None)
    if header is None:
        return
    second = next(filled, None)
    if second is None or sum(map(bool, header)) < 2:
        yield Block(" ".join(filter(None, header)), page, section)
        header = []
    for row in (*([second] if second else ()), *filled):
        width = max(len(row), len(header))
        pairs = ((header[i] if i < len(header) else "", row[i] if i < len(row) else "") for i in range(width))
        cells = tuple(pair for pair in pairs if any(pair))
        text = "; ".join(f"{label}: {value}" if label else value for label, value in cells if value)
        yield Block(text, page, section, cells)


def _cells(row: Iterable[object]) -> list[str]:
    return [_text(value) for value in row]


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case float() if value.is_integer():
            return str(int(value))
        case dt.datetime() if value.time() == dt.time():
            return value.date().isoformat()
        case dt.date() | dt.time():
            return value.isoformat()
    return str(value)


def _old_text(cell: Any, datemode: int) -> str:
    """A cell of an old workbook, whose dates are numbers."""
    import xlrd

    if cell.ctype == xlrd.XL_CELL_DATE:
        try:
            return _text(xlrd.xldate_as_datetime(cell.value, datemode))
        except (xlrd.xldate.XLDateError, OverflowError):
            return str(cell.value)
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return str(bool(cell.value))
    return "" if cell.ctype == xlrd.XL_CELL_ERROR else _text(cell.value)
