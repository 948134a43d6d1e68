"""Columns of tables as people keep them, and what is reckoned over them: in one notation and one unit, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.errors import ToolError
from headrace.tools.columns import values_of
from headrace.tools.grid import Row, Table, tables_of
from headrace.tools.tables import _look_up
from headrace.types import Chunk

CHUNK = Chunk("documents/t/x", 1, 0, "")


@pytest.mark.parametrize(
    ("cells", "language", "values"),
    [
        (["A-17", "E10", "INV-2024", "Q1 2024", "+49 170 1234567", "(5)", "3 x 4", "10-20", "3 4", "n/a", "", "1.10.0"], "en", [None] * 12),
        (["1.234,56-", "12,5", "-7", "\u22123,25"], "de", ["-1234.56", "12.5", "-7", "-3.25"]),
        (["(1,234.50)", "5.75%", "300", "$ -5"], "en", ["-1234.50", "5.75", "300", "-5"]),
        (["1.234", "2.000"], "hu", ["1234", "2000"]),
        (["1.234", "2.000"], "en", ["1.234", "2.000"]),
        (["1.234", "0.5"], "de", ["1.234", "0.5"]),
        (["1 234,5", "12"], "fr", ["1234.5", "12"]),
        (["1'234.50 CHF", "99"], "de", ["1234.50", "99"]),
        # Where cells contradict each other, what shows no notation by itself is nothing.
        (["1,5", "1.5", "1,234"], "en", ["1.5", "1.5", None]),
        (["12,34,567", "1.2.3.4", "192.168.0.1"], "en", [None, None, None]),
    ],
)  # fmt: skip
def test_a_cell_is_a_number_or_nothing(cells: list[str], language: str, values: list[str | None]) -> None:
    assert [str(value.number) if value else None for value in values_of(cells, language)] == values


def table(labels: str, *rows: str, section: tuple[str, ...] = ()) -> Table:
    names = tuple(labels.split("|"))
    return Table(names, section, [Row(dict(zip(names, row.split("|"), strict=True)), CHUNK) for row in rows])


def looked_up(tables: Table | list[Table], **wanted: Any) -> str:
    return _look_up(tables if isinstance(tables, list) else [tables], wanted, "en").text


def test_codes_are_text() -> None:
    orders = table("Order|State", "A-17|open", "B-17|open", "E10|closed")
    found = looked_up(orders, where=[{"column": "Order", "operator": "=", "value": "A-17"}])
    assert "A-17" in found
    assert "B-17" not in found
    with pytest.raises(ToolError, match="neither a number nor a date"):
        looked_up(orders, where=[{"column": "State", "operator": "<", "value": "open"}])


def test_dates_are_in_the_order_of_time() -> None:
    for rows in (("15.03.2024", "31.01.2023", "01.12.2023"), ("2024-03-15", "2023-01-31", "2023-12-01")):
        dates = table("When|What", *(f"{date}|x" for date in rows))
        newest = looked_up(dates, order_by="When", descending=True).splitlines()[1:]
        assert [line.split(";")[0] for line in newest] == [f"When: {rows[0]}", f"When: {rows[2]}", f"When: {rows[1]}"]
        assert f"max of When = {rows[0]}" in looked_up(dates, function="max", of="When")
        later = looked_up(dates, where=[{"column": "When", "operator": ">=", "value": "2023-12-01"}])
        assert later.startswith("2 of 3 rows.")
        with pytest.raises(ToolError, match="no sum"):
            looked_up(dates, function="sum", of="When")


def test_units_are_not_mixed() -> None:
    weights = table("Part|Weight", "a|1 kg", "b|500 g", "c|2 kg")
    for wanted in ({"function": "sum", "of": "Weight"}, {"function": "max", "of": "Weight"}, {"order_by": "Weight"}):
        with pytest.raises(ToolError, match="several units"):
            looked_up(weights, **wanted)
    kilos = [{"column": "Weight", "operator": "contains", "value": "kg"}]
    assert "sum of Weight = 3 kg" in looked_up(weights, function="sum", of="Weight", where=kilos)
    assert looked_up(weights, where=[{"column": "Weight", "operator": "=", "value": "500 kg"}]).startswith("0 of 3")


def test_a_row_of_totals_is_no_row_of_its_own() -> None:
    sales = table("Item|Amount", "a|100", "b|50", "c|25", "Gesamt|175")
    for function, value in (("sum", "175"), ("max", "100"), ("average", "58.333333")):
        found = looked_up(sales, function=function, of="Amount")
        assert f"{function} of Amount = {value}" in found
        assert "Left out, because it is the sum of the others: Item: Gesamt; Amount: 175." in found


def test_tables_of_equal_columns_are_said_to_be_several() -> None:
    sheets = [table("Item|Amount", f"a|{n}", section=(name,)) for n, name in ((1, "Q1"), (10, "Q10"), (2, "Q2"))]
    assert "All tables of these columns together: Q1; Q10; Q2." in looked_up(sheets, function="sum", of="Amount")
    assert "sum of Amount = 1\n" in looked_up(sheets, section="q1", function="sum", of="Amount") + "\n"


def test_columns_of_one_name_are_told_apart() -> None:
    html = "<table><tr><th>2023</th><th>2023</th></tr><tr><td>1</td><td>2</td></tr></table>"
    (found,) = tables_of([Chunk("documents/t/x", 1, 0, "", html=html)])
    assert found.rows[0].cells == {"2023": "1", "2023 (2)": "2"}
