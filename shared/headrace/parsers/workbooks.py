"""Workbooks to blocks, as a person sees them: numbers by their formats, merged cells filled. Runs in the parser's process.

What a workbook's author hid is left out, and the record says so.

openpyxl's public reader for large files makes up all rows and columns between those that a sheet has, believes what the sheet
says of its own size, and knows neither what is hidden nor what is merged; the parser below it knows all of it.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from openpyxl import load_workbook
from openpyxl.styles.numbers import BUILTIN_FORMATS
from openpyxl.utils import column_index_from_string, range_boundaries
from openpyxl.worksheet._reader import FORMULA_TAG, WorkSheetParser

from headrace.errors import DocumentError
from headrace.parsers.archives import part_of, text_of, xml_of
from headrace.parsers.charts import chart_rows
from headrace.parsers.grid import Area, MergedAreas, Row
from headrace.parsers.number_formats import GENERAL, shown
from headrace.parsers.relations import relations
from headrace.parsers.tables import read_rows
from headrace.types import Block, Note

# https://support.microsoft.com/office/excel-specifications-and-limits-1672b34d-7043-467e-8e27-269d656771c3
MOST_CELL_CHARACTERS = 32_767
MOST_MERGED = 100_000
PIECE_BYTES = 1 << 20
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\b[^>]*\bref="([A-Z]{1,3}\d{1,7}:[A-Z]{1,3}\d{1,7})"')
FIRST_OWN_FORMAT = 164


def read_xlsx(path: Path) -> Iterator[Block | Note]:
    """A block a row of every sheet that is shown; the sheet's name is its section and its number its page."""
    # A file object, because openpyxl trusts a path's ending and the temporary file has none.
    with path.open("rb") as file:
        hidden = []
        for number, sheet in enumerate(_sheets_of(file), 1):
            if sheet.is_hidden:
                hidden.append(f"the sheet {sheet.name!r}")
                continue
            yield from read_rows(sheet.rows(), page=number, section=(sheet.name,))
            yield from (Block(text, number, (sheet.name,)) for text in sheet.beside())
            hidden += [f"{sheet.hidden} rows or columns of {sheet.name!r}"] if sheet.hidden else []
        yield from hidden_note(hidden)


def hidden_note(parts: Sequence[str]) -> Iterator[Note]:
    """What was left out, where anything was."""
    if parts:
        yield Note(f"Left out, because it is hidden in the workbook: {', '.join(parts)}.")


def _sheets_of(file: IO[bytes]) -> Iterator[_Sheet]:
    """The workbook's sheets in their order. Raises DocumentError for one that is damaged."""
    try:
        book = load_workbook(file, read_only=True, data_only=True)
    except (KeyError, ValueError, zipfile.BadZipFile, OSError) as error:
        raise DocumentError("The workbook can't be opened: the file is damaged. Save it anew.") from error
    for sheet in book.worksheets:
        yield _Sheet(book, sheet)


@dataclass
class _Sheet:
    """One sheet. `hidden` counts its rows and columns that were left out, once `rows` is through."""

    _book: Any
    _sheet: Any
    hidden: int = field(default=0, init=False)

    @property
    def name(self) -> str:
        return str(self._sheet.title)

    @property
    def is_hidden(self) -> bool:
        return bool(self._sheet.sheet_state != "visible")

    def rows(self) -> Iterator[Row]:
        """The rows that the sheet has, with the cells that they have; an empty one where rows are missing in between."""
        merged = MergedAreas(self._merged())
        formats = {"date_formats": self._book._date_formats, "timedelta_formats": self._book._timedelta_formats}  # noqa: SLF001
        with self._sheet._get_source() as source:  # noqa: SLF001 - openpyxl.worksheet._read_only does the same
            parser = _Parser(source, self._sheet._shared_strings, data_only=True, epoch=self._book.epoch, **formats)  # noqa: SLF001
            last = 0
            hidden_columns: set[int] | None = None
            for number, cells in parser.parse():
                if hidden_columns is None:
                    hidden_columns = _hidden_columns(parser.column_dimensions)
                    self.hidden += len(hidden_columns)
                if number > last + 1:
                    yield Row()
                last = number
                if parser.row_dimensions.pop(str(number), {}).get("hidden") in {"1", "true"}:
                    self.hidden += 1
                    continue
                seen = (cell for cell in cells if cell["column"] not in hidden_columns)
                yield merged.fill(number - 1, {cell["column"] - 1: self._text(cell) for cell in seen})

    def beside(self) -> Iterator[str]:
        """What stands on the sheet outside its cells: notes, and the words of shapes and charts."""
        archive: zipfile.ZipFile = self._book._archive  # noqa: SLF001
        for kind, part, _ in relations(archive, self._sheet._worksheet_path):  # noqa: SLF001
            if kind in {"comments", "drawing"}:
                root = xml_of(part_of(archive, part))
                yield from _notes(root) if kind == "comments" else _drawn(archive, part, root)

    def _text(self, cell: Mapping[str, Any]) -> str:
        text = shown(cell["value"], self._format(cell["style_id"]))
        if len(text) > MOST_CELL_CHARACTERS:
            raise DocumentError(
                f"A cell of the workbook has more than the {MOST_CELL_CHARACTERS:,} characters that a cell can have. "
                "Save the workbook anew."
            )
        return text

    def _format(self, style: int) -> str:
        styles = self._book._cell_styles  # noqa: SLF001
        number = styles[style].numFmtId if style < len(styles) else 0
        if number < FIRST_OWN_FORMAT:
            return str(BUILTIN_FORMATS.get(number, GENERAL))
        own = self._book._number_formats  # noqa: SLF001
        return str(own[number - FIRST_OWN_FORMAT]) if number - FIRST_OWN_FORMAT < len(own) else GENERAL

    def _merged(self) -> Iterator[Area]:
        """The merged areas. They stand behind all rows, so the sheet is looked through once before."""
        count, rest = 0, b""
        with self._sheet._get_source() as source:  # noqa: SLF001
            while piece := source.read(PIECE_BYTES):
                text = rest + piece
                end = 0
                for match in _MERGED.finditer(text):
                    yield Area(*(place - 1 for place in range_boundaries(match[1].decode())))
                    count, end = count + 1, match.end()
                    if count > MOST_MERGED:
                        raise DocumentError(f"A sheet has more than {MOST_MERGED:,} merged areas. Save it as CSV.")
                rest = text[max(end, len(text) - 200) :]


class _Parser(WorkSheetParser):  # type: ignore[misc]
    """Says of a formula that was never calculated what it is, instead of nothing."""

    def parse_cell(self, element: Any) -> dict[str, Any]:
        cell: dict[str, Any] = super().parse_cell(element)
        if cell["value"] is None and (formula := element.findtext(FORMULA_TAG)):
            cell["value"] = f"={formula} (not calculated)"
        return cell


def _hidden_columns(dimensions: Mapping[str, Mapping[str, Any]]) -> set[int]:
    """Columns from 1."""
    hidden: set[int] = set()
    for name, said in dimensions.items():
        if said.get("hidden") in {"1", "true", True}:
            first = column_index_from_string(name)
            hidden.update(range(int(said.get("min", first)), min(int(said.get("max", first)), 16_384) + 1))
    return hidden


def _notes(root: Any) -> Iterator[str]:
    for comment in root.iter("{*}comment"):
        text = " ".join("".join(comment.itertext("{*}t")).split())
        if text:
            yield f"Note on {comment.get('ref', 'a cell')}: {text}"


def _drawn(archive: zipfile.ZipFile, part: str, root: Any) -> Iterator[str]:
    """The words of shapes, and the titles of charts, whose numbers are the sheet's own."""
    for shape in root.iter("{*}txBody"):
        if text := text_of(shape):
            yield text
    for kind, chart, _ in relations(archive, part):
        title = chart_rows(xml_of(part_of(archive, chart)))[0] if kind == "chart" else ""
        yield from [f"Chart: {title}"] if title else []
