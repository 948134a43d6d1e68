"""A tool that looks up rows of a document's tables: filters, sorts, and reckons over all of them, which no search can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from headrace.errors import ToolError
from headrace.tools.columns import DATE, Value, decimal_mark, value_of, values_of
from headrace.tools.grid import Row, Table, tables_of
from headrace.tools.reading import DocumentReader
from headrace.types import Passage, Principal, ToolResult, ToolSpec

MOST_ROWS = 100
DEFAULT_ROWS = 20
# So many parts are given along as passages, to be cited.
MOST_PASSAGES = 8
SAMPLE_ROWS = 3
# Of fewer numbers, the last one may be the sum of the others by chance.
LEAST_SURE_ROWS = 2
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


class LookUpRows:
    """Rows of the tables of one document."""

    timeout_seconds = 20.0
    writes = False
    is_of_documents = True
    spec = ToolSpec(
        "look_up_rows",
        "Look up rows of the tables in one document, with conditions, in an order, and reckon over them: count, sum, average, "
        "smallest, largest. Without columns, conditions and function it says which tables and columns there are.",
        {
            "type": "object",
            "properties": {
                "document": {"type": "string", "description": "The document's name."},
                "section": {"type": "string", "description": "The heading or sheet that the table stands under."},
                "where": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "column": {"type": "string"},
                            "operator": {"enum": ["=", "!=", *OPERATORS, "contains"]},
                            "value": {"type": ["string", "number"]},
                        },
                        "required": ["column", "operator", "value"],
                        "additionalProperties": False,
                    },
                },
                "columns": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "Those to show; all without it.",
                },
                "function": {"enum": ["count", "sum", "average", "min", "max"]},
                "of": {"type": "string", "description": "The column that the function is over."},
                "by": {"type": "string", "description": "Reckon for each value of this column."},
                "order_by": {"type": "string"},
                "descending": {"type": "boolean"},
                "limit": {"type": "integer", "minimum": 1, "maximum": MOST_ROWS},
            },
            "required": ["document"],
            "additionalProperties": False,
        },
    )

    def __init__(self, reader: DocumentReader) -> None:
        self._reader = reader

    async def call(self, arguments: Mapping[str, Any], principal: Principal) -> ToolResult:
        document = await self._reader.find(arguments["document"], principal)
        chunks = await self._reader.chunks(document, principal)
        # A table of ten thousand rows takes a while to read.
        return await asyncio.to_thread(lambda: _look_up(tables_of(chunks), arguments, document.language))


def _look_up(tables: Sequence[Table], wanted: Mapping[str, Any], language: str) -> ToolResult:
    tables = _under(tables, wanted.get("section", ""))
    if not any(name in wanted for name in ("where", "columns", "function", "order_by")):
        return _described(tables)
    table, about = _table_with(tables, _columns_in(wanted))
    lookup = _Lookup(table, language)
    for condition in wanted.get("where", ()):
        lookup.keep(condition["column"], condition["operator"], condition["value"])
    if order := wanted.get("order_by"):
        lookup.sort(order, descending=wanted.get("descending", False))
    return lookup.result(wanted, about)


def _under(tables: Sequence[Table], section: str) -> list[Table]:
    """The tables under a heading of this name, or else under one that has it in it. Raises ToolError."""
    name = section.strip().casefold()
    exact = [table for table in tables if name in {part.casefold() for part in table.section}]
    found = exact or [table for table in tables if name in " › ".join(table.section).casefold()]
    if not found:
        raise ToolError("The document has no table there.")
    return found


def _columns_in(wanted: Mapping[str, Any]) -> list[str]:
    named = [condition["column"] for condition in wanted.get("where", ())] + list(wanted.get("columns", ()))
    return named + [wanted[name] for name in ("of", "by", "order_by") if name in wanted]


def _table_with(tables: Sequence[Table], columns: Sequence[str]) -> tuple[Table, str]:
    """The one table that has these columns; tables of the same columns count as one, which is said. Raises ToolError."""
    found = [table for table in tables if all(_label(column, table.labels) for column in columns)]
    if not found:
        known = "; ".join(", ".join(table.labels) for table in tables[:10])
        raise ToolError(f"No table has all these columns. There are: {known}.")
    if len({table.labels for table in found}) > 1:
        where = "; ".join(f"{_heading(table)}: {', '.join(table.labels)}" for table in found[:10])
        raise ToolError(f"Several tables have these columns: say under which heading (section). {where}.")
    rows = [row for table in found for row in table.rows]
    about = f"All tables of these columns together: {'; '.join(map(_heading, found))}." if len(found) > 1 else ""
    return Table(found[0].labels, found[0].section, rows, sum(table.unread for table in found)), about


def _heading(table: Table) -> str:
    return " › ".join(table.section) or "without a heading"


def _label(column: str, labels: Sequence[str]) -> str | None:
    return next((label for label in labels if label.strip().casefold() == column.strip().casefold()), None)


class _Lookup:
    """Rows of one table, fewer with each condition."""

    def __init__(self, table: Table, language: str) -> None:
        self._table = table
        self._language = language
        self._rows: list[Row] = table.rows
        self._values: dict[str, dict[int, Value | None]] = {}

    def keep(self, column: str, operator: str, value: str | float) -> None:
        """Keep the rows whose cell compares so: as text where it is the same or a part, else as numbers or dates."""
        label, text = self._name(column), str(value).strip().casefold()
        asked, values = self._asked(label, value), self._values_of(label)
        if operator not in {"=", "!=", "contains"}:
            if asked is None:
                raise ToolError(f"{value!r} is neither a number nor a date (2024-12-31): it can't be compared so.")
            self._check_units(label, [*(values[id(row)] for row in self._rows), asked])

        def holds(row: Row) -> bool:
            cell, known = row.cells.get(label, "").strip().casefold(), values[id(row)]
            if operator == "contains":
                return text in cell
            is_same = cell == text or (
                known is not None and known == (asked and Value(asked.number, asked.unit or known.unit))
            )
            if operator in {"=", "!="}:
                return is_same == (operator == "=")
            return known is not None and asked is not None and OPERATORS[operator](known.number, asked.number)

        self._rows = [row for row in self._rows if holds(row)]

    def sort(self, column: str, *, descending: bool) -> None:
        """Order the rows; those without a number in a column of numbers come last."""
        label = self._name(column)
        values = self._values_of(label)
        known = [(value, row) for row in self._rows if (value := values[id(row)]) is not None]
        if known:
            self._check_units(label, [value for value, _ in known])
            rest = [row for row in self._rows if values[id(row)] is None]
            self._rows = [row for _, row in sorted(known, key=lambda each: each[0].number, reverse=descending)] + rest
        else:
            self._rows = sorted(self._rows, key=lambda row: row.cells.get(label, "").casefold(), reverse=descending)

    def result(self, wanted: Mapping[str, Any], about: str) -> ToolResult:
        lines = [f"{len(self._rows)} of {len(self._table.rows)} rows.", *([about] if about else [])]
        if self._table.unread:
            lines.append(
                f"{self._table.unread} more lines of the table could not be read as rows: the figures lack them."
            )
        if function := wanted.get("function"):
            shown = self._reckon(function, wanted, lines)
        else:
            shown = self._rows[: wanted.get("limit", DEFAULT_ROWS)]
            labels = [self._name(column) for column in wanted.get("columns", ())] or list(self._table.labels)
            lines += ["; ".join(f"{label}: {row.cells.get(label, '')}" for label in labels) for row in shown]
        parts = {row.chunk.identity: row.chunk for row in shown}
        passages = tuple(Passage(chunk, 0.0) for chunk in list(parts.values())[:MOST_PASSAGES])
        return ToolResult("\n".join(lines), passages)

    def _reckon(self, function: str, wanted: Mapping[str, Any], lines: list[str]) -> list[Row]:
        """Add the function's values to the lines; gives the rows that they rest on first."""
        of = self._name(wanted["of"]) if "of" in wanted else None
        if of is None and function != "count":
            raise ToolError("Say which column the function is over (of).")
        rows = self._rows
        if of is not None and function != "count" and (total := self._total(of, rows)) is not None:
            rows = [row for row in rows if row is not total]
            lines.append(f"Left out, because it is the sum of the others: {_told(total)}.")
        groups: dict[str, list[Row]] = {}
        by = self._name(wanted["by"]) if "by" in wanted else None
        for row in rows:
            groups.setdefault(row.cells.get(by, "") if by else "", []).append(row)
        rests_on: list[Row] = []
        most = wanted.get("limit", MOST_ROWS)
        for name, members in list(groups.items())[:most] or [("", [])]:
            value, about, first = self._value(function, of, members)
            rests_on += first
            lines.append(f"{f'{name}: ' if by else ''}{function}{f' of {of}' if of else ''} = {value}{about}")
        if len(groups) > most:
            lines.append(f"{len(groups) - most} more values of {by} are left out: give conditions.")
        return rests_on or rows

    def _total(self, of: str, rows: Sequence[Row]) -> Row | None:
        """The last row, when its number is the sum of all others: what tables end with in every language."""
        values = self._values_of(of)
        numbers = [(value.number, row) for row in rows if (value := values[id(row)]) is not None and value.unit != DATE]
        if len(numbers) > LEAST_SURE_ROWS and rows and numbers[-1][1] is rows[-1]:
            *others, (last, row) = numbers
            if last and sum((number for number, _ in others), Decimal()) == last:
                return row
        return None

    def _value(self, function: str, of: str | None, rows: Sequence[Row]) -> tuple[str, str, list[Row]]:
        if of is None:
            return str(len(rows)), "", list(rows)
        if function == "count":
            filled = [row for row in rows if row.cells.get(of, "").strip()]
            return str(len(filled)), "", filled
        values = self._values_of(of)
        known = [(value, row) for row in rows if (value := values[id(row)]) is not None]
        about = f" ({len(rows) - len(known)} rows have no number there)" if len(known) < len(rows) else ""
        if not known:
            return "none", about, []
        unit = self._check_units(of, [value for value, _ in known])
        numbers = [value.number for value, _ in known]
        if function in {"sum", "average"}:
            if unit == DATE:
                raise ToolError(f"{of} has dates, which have no sum.")
            total = sum(numbers, Decimal())
            reckoned = total if function == "sum" else total / len(numbers)
            return f"{_plain(reckoned)} {unit}".strip(), about, [row for _, row in known]
        edge = min(numbers) if function == "min" else max(numbers)
        rows_there = [row for value, row in known if value.number == edge]
        return rows_there[0].cells[of], f"{about} in the row: {_told(rows_there[0])}", rows_there

    def _check_units(self, label: str, values: Sequence[Value | None]) -> str:
        """The one unit of these values. Raises ToolError where there are several: 1 kg is not less than 500 g."""
        units = {value.unit for value in values if value is not None} - {""}
        if len(units) > 1:
            raise ToolError(
                f"{label} has several units ({', '.join(sorted(units))}): give a condition that leaves one (contains)."
            )
        return units.pop() if units else ""

    def _asked(self, label: str, value: str | float) -> Value | None:
        """A condition's value, in the notation of its column."""
        if not isinstance(value, str):
            return Value(Decimal(str(value)))
        return value_of(value, decimal_mark([row.cells.get(label, "") for row in self._table.rows], self._language))

    def _values_of(self, label: str) -> dict[int, Value | None]:
        # The notation is the whole column's, whatever rows are left of it.
        if label not in self._values:
            cells = [row.cells.get(label, "") for row in self._table.rows]
            self._values[label] = dict(zip(map(id, self._table.rows), values_of(cells, self._language), strict=True))
        return self._values[label]

    def _name(self, column: str) -> str:
        label = _label(column, self._table.labels)
        assert label is not None, "the table was chosen by its columns"  # noqa: S101
        return label


def _told(row: Row) -> str:
    return "; ".join(f"{label}: {cell}" for label, cell in row.cells.items())


def _described(tables: Sequence[Table]) -> ToolResult:
    lines, passages = [f"{len(tables)} tables."], {}
    for table in tables[:10]:
        lines.append(
            f"{' › '.join(table.section) or 'Without a heading'}: {len(table.rows)} rows; {', '.join(table.labels)}"
        )
        for row in table.rows[:SAMPLE_ROWS]:
            lines.append(f"  {_told(row)}")
            passages[row.chunk.identity] = row.chunk
    return ToolResult("\n".join(lines), tuple(Passage(chunk, 0.0) for chunk in list(passages.values())[:MOST_PASSAGES]))


def _plain(value: Decimal) -> str:
    text = f"{value:.6f}" if value != value.to_integral_value() else f"{value:.0f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
