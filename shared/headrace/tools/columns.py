"""The values of a table's column that can be compared and reckoned with: numbers, in the column's one notation, and dates.

What is neither (codes, versions, telephone numbers, ranges) is text.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

# Languages that write 1.234,5; where no cell of a column shows its notation, the document's language decides.
COMMA_LANGUAGES = frozenset(
    "bg cs da de el es et fi fr hr hu id is it lt lv nb nl nn no pl pt ro ru sk sl sr sv tr uk vi".split()
)
DATE = "date"
_SPACES = "\u00a0\u202f "
_GROUPED = rf"\d{{1,3}}(?:(?P<group>[.,'’{_SPACES}])\d{{3}})(?:(?P=group)\d{{3}})*(?:[.,]\d+)?"
# A currency may stand before a number, anything without digits behind it. Brackets are how accounts write what is negative.
_CELL = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>[-\u2212+])?\s*(?P<before>[€$£¥]|[A-Z]{{3}}\s|CHF|EUR|USD|GBP)?\s*(?P<sign2>[-\u2212])?"
    rf"(?P<number>{_GROUPED}|\d+(?:[.,]\d+)?)(?P<behind>-)?\s*(?P<unit>[^\d()]{{0,20}}?)\s*(?P<close>\))?"
)
_GROUPS = re.compile(r"\d{1,3}(?:[.,]\d{3})+")
_ISO_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ][\d:.]+(?:Z|[+-][\d:]+)?)?")
_DOTTED_DATE = re.compile(r"(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4})")


@dataclass(frozen=True, slots=True)
class Value:
    """A cell's number, with its unit as it stands there, in small letters; of a date (`DATE`) the number of its day."""

    number: Decimal
    unit: str = ""


def values_of(cells: Sequence[str], language: str) -> list[Value | None]:
    """Each cell's value; None for one that has none. A cell whose notation can't be told from its column has none either."""
    decimal = decimal_mark(cells, language)
    return [value_of(cell, decimal) for cell in cells]


def decimal_mark(cells: Iterable[str], language: str) -> str:
    """The mark that the column's cells show to be the decimal one; the language's where none shows it, "" where they differ."""
    marks = set()
    for cell in cells:
        match = _CELL.fullmatch(cell.strip())
        marks.add(_shown_mark(match["number"]) if match else "")
    marks.discard("")
    if len(marks) > 1:
        return ""
    return marks.pop() if marks else "," if language in COMMA_LANGUAGES else "."


def value_of(cell: str, decimal: str) -> Value | None:
    """The value of one cell in this notation."""
    text = cell.strip()
    if (day := _day(text)) is not None:
        return Value(Decimal(day), DATE)
    match = _CELL.fullmatch(text)
    if match is None or bool(match["open"]) != bool(match["close"]):
        return None
    number = match["number"]
    mark = decimal or _shown_mark(number)
    if not mark and not number.isdigit():
        return None
    grouping = "." if mark == "," else ","
    whole = re.sub(rf"['’{_SPACES}{re.escape(grouping)}]", "", number)
    if not re.fullmatch(rf"\d+(?:{re.escape(mark)}\d+)?" if mark else r"\d+", whole):
        return None
    value = Decimal(whole.replace(mark, ".") if mark else whole)
    is_negative = any(match[name] in {"-", "\u2212"} for name in ("sign", "sign2", "behind"))
    # A number in brackets by itself is a note, or a list's.
    if match["open"]:
        if number.isdigit() and not match["before"] and not match["unit"]:
            return None
        is_negative = True
    unit = f"{match['before'] or ''}{match['unit']}".strip().casefold()
    return Value(-value if is_negative else value, unit)


def _shown_mark(number: str) -> str:
    """The decimal mark that a number shows by itself; "" where it shows none."""
    points, commas = number.count("."), number.count(",")
    if points and commas:
        return "." if number.rfind(".") > number.rfind(",") else ","
    if points + commas == 1:
        mark = "." if points else ","
        return mark if not _GROUPS.fullmatch(number) or number.startswith("0") else ""
    if points > 1 or commas > 1:
        return "," if points else "."
    return ""


def _day(text: str) -> int | None:
    """The number of a date's day: of ISO's form, or day, month and year with dots."""
    iso, dotted = _ISO_DATE.fullmatch(text), _DOTTED_DATE.fullmatch(text)
    try:
        if iso:
            return dt.date(int(iso[1]), int(iso[2]), int(iso[3])).toordinal()
        return dt.date(int(dotted[3]), int(dotted[2]), int(dotted[1])).toordinal() if dotted else None
    except ValueError:
        return None
