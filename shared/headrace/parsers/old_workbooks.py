"""Workbooks from before 2007 (.xls) to blocks, as the new ones are read (workbooks.py). Runs in the parser's process."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headrace.errors import DocumentError
from headrace.parsers.grid import Area, MergedAreas, Row
from headrace.parsers.number_formats import GENERAL, shown
from headrace.parsers.tables import read_rows
from headrace.parsers.workbooks import hidden_note
from headrace.types import Block, Note


def read_xls(path: Path) -> Iterator[Block | Note]:
    """The same of an old workbook."""
    import xlrd

    try:
        book = xlrd.open_workbook(str(path), logfile=io.StringIO(), on_demand=True, formatting_info=True)
    except NotImplementedError:
        book = xlrd.open_workbook(str(path), logfile=io.StringIO(), on_demand=True)
    except (xlrd.XLRDError, ValueError, IndexError, struct.error, AssertionError) as error:
        if "encrypted" in str(error):
            raise DocumentError("The workbook is protected by a password. Upload an unprotected copy.") from error
        raise DocumentError("The workbook can't be opened: the file is damaged. Save it anew.") from error
    hidden = []
    for number, name in enumerate(book.sheet_names(), 1):
        sheet = book.sheet_by_name(name)
        if sheet.visibility:
            hidden.append(f"the sheet {name!r}")
        else:
            yield from read_rows(_old_rows(book, sheet), page=number, section=(name,))
        book.unload_sheet(name)
    yield from hidden_note(hidden)


def _old_rows(book: Any, sheet: Any) -> Iterator[Row]:
    # xlrd names the first row and column behind an area.
    merged = MergedAreas(Area(left, top, right - 1, bottom - 1) for top, bottom, left, right in sheet.merged_cells)
    for number, cells in enumerate(sheet.get_rows()):
        if (row := sheet.rowinfo_map.get(number)) and row.hidden:
            continue
        shown_cells = {
            column: _old_text(cell, book)
            for column, cell in enumerate(cells)
            if not ((info := sheet.colinfo_map.get(column)) and info.hidden)
        }
        yield merged.fill(number, shown_cells)


def _old_text(cell: Any, book: Any) -> str:
    """A cell of an old workbook, whose dates are numbers."""
    import xlrd

    number_format = GENERAL
    if cell.xf_index is not None:
        number_format = book.format_map[book.xf_list[cell.xf_index].format_key].format_str
    if cell.ctype == xlrd.XL_CELL_DATE:
        try:
            return shown(xlrd.xldate_as_datetime(cell.value, book.datemode), number_format)
        except (xlrd.xldate.XLDateError, OverflowError):
            return str(cell.value)
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return shown(bool(cell.value), GENERAL)
    if cell.ctype == xlrd.XL_CELL_ERROR:
        return str(xlrd.error_text_from_code.get(cell.value, ""))
    return shown(cell.value, number_format) if cell.ctype == xlrd.XL_CELL_NUMBER else str(cell.value)
