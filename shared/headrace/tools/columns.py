"""The values of a table's column: what of them are numbers, read in the one notation that the column has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation

# Languages that write 1.234,5; where no cell of a column shows its notation, the document's language decides.
COMMA_LANGUAGES = frozenset(
    {"de", "fr", "es", "it", "pt", "nl", "da", "sv", "nb", "no", "fi", "pl", "cs", "tr", "ru", "el"}
)
# One number with a unit before or behind it, and nothing else that has a digit: neither a date nor a code.
_CELL = re.compile(
    r"(?P<open>\()?\s*(?P<before>[^\W\d_]{0,4}|[€$£¥])\s*(?P<sign>[-\u2212+])?\s*(?P<before2>[€$£¥])?\s*"
    r"(?P<number>\d+(?:[.,'’\u00a0\u202f ]\d+)*)\s*(?P<unit>[^\d]{0,20})",
)
_GROUPS = re.compile(r"\d{1,3}(?:[.,'’\u00a0\u202f ]\d{3})+")


def numbers_of(cells: Sequence[str], language: str) -> list[Decimal | None]:
    """Each cell's number; None for one that has none, or more than that."""
    found = [_CELL.fullmatch(cell.strip()) for cell in cells]
    texts = [match["number"] if match else "" for match in found]
    decimal = _decimal_mark(texts) or ("," if language in COMMA_LANGUAGES else ".")
    return [_value(match, decimal) if match else None for match in found]


def _decimal_mark(texts: Iterable[str]) -> str | None:
    """The mark that a cell shows to be the decimal one; None when no cell does, or they differ."""
    marks = set()
    for text in texts:
        points, commas = text.count("."), text.count(",")
        if points and commas:
            marks.add("." if text.rfind(".") > text.rfind(",") else ",")
        elif points + commas == 1:
            mark = "." if points else ","
            if not _GROUPS.fullmatch(text) or text.startswith("0"):
                marks.add(mark)
        elif points > 1 or commas > 1:
            marks.add("," if points else ".")
    return marks.pop() if len(marks) == 1 else None


def _value(match: re.Match[str], decimal: str) -> Decimal | None:
    grouping = "." if decimal == "," else ","
    plain = re.sub(rf"['’\u00a0\u202f {re.escape(grouping)}]", "", match["number"]).replace(decimal, ".")
    try:
        value = Decimal(plain)
    except InvalidOperation:
        return None
    # Accounts write what is negative in brackets.
    is_negative = match["sign"] in {"-", "\u2212"} or bool(match["open"])
    return -value if is_negative else value
