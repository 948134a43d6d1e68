"""Numbers and dates as a workbook shows them: `0.0575` under `0.00%` is `5.75%`, `1234` under `00000` is `01234`.

Reference: ECMA-376, part 1, 18.8.31 (numFmts). ssf, the one library for it, rests since 2020 and brings Babel along.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache

GENERAL = "General"
# What Excel shows by the reader's country: there ISO's form is plain to all.
COUNTRY_DATES = frozenset({"mm-dd-yy", "m/d/yy h:mm", "General Date"})
_TOKEN = re.compile(
    r'"([^"]*)"|\\(.)|_(.)|\*.|\[\$([^\]-]*)[^\]]*\]|\[(h+|m+|s+)\]|\[[^\]]*\]|(AM/PM|A/P)|(E[+-]0+)|([#0?][#0?,.]*|\.[#0?]+)|(y+|m+|d+|h+|s+(?:\.0+)?)|(.)',
    re.IGNORECASE | re.DOTALL,
)
_TEXT, _ESCAPED, _SPACE, _CURRENCY, _ELAPSED, _HALF, _POWER, _DIGITS, _TIME, _OTHER = range(1, 11)


def shown(value: object, number_format: str) -> str:
    """A cell's value as text. `value` is what openpyxl makes of it; an unknown format shows the plain value."""
    if value is None:
        return ""
    match value:
        case bool():
            return str(value).upper()
        case int() | float():
            return _number(value, number_format)
        case dt.timedelta():
            return _elapsed(value, number_format)
        case dt.datetime() | dt.date() | dt.time():
            return _date(value, number_format)
        case _:
            return str(value)


def _number(value: float, number_format: str) -> str:
    if number_format in {GENERAL, "@", ""} or not re.search(r"[0#?]", number_format):
        return plain_number(value)
    sections = _sections(number_format)
    by_sign = 1 if value < 0 and len(sections) > 1 else 2 if value == 0 and len(sections) > 2 else 0
    tokens = sections[by_sign]
    pattern = "".join(token[_DIGITS] or "" for token in tokens)
    if "/" in number_format:
        return plain_number(value)
    if not pattern:
        return _assembled(tokens, "").strip()
    number = Decimal(repr(value)) * 100 ** sum(token[_OTHER] == "%" for token in tokens)
    # A section of its own says by itself that a number is negative.
    number = abs(number) if by_sign == 1 else number
    if any(token[_POWER] for token in tokens):
        mantissa, _, power = f"{number:.{len(pattern.partition('.')[2])}E}".partition("E")
        return f"{mantissa}E{power[0]}{power[1:].zfill(2)}"
    digits = _digits(number, pattern)
    return _assembled(tokens, digits).strip()


def plain_number(value: float) -> str:
    """A number without a format: no more digits than it was written with."""
    if isinstance(value, int):
        return str(value)
    return str(int(value)) if value.is_integer() and abs(value) < 1e18 else f"{value:.15g}"


def _digits(number: Decimal, pattern: str) -> str:
    """The number in a pattern such as `#,##0.00`."""
    # Each comma after the last digit divides by a thousand.
    number /= 1000 ** (len(pattern) - len(pattern.rstrip(",")))
    whole, _, fraction = pattern.rstrip(",").partition(".")
    rounded = number.quantize(Decimal(1).scaleb(-len(fraction)), ROUND_HALF_UP)
    sign = "-" if rounded < 0 else ""
    front, _, back = f"{abs(rounded):f}".partition(".")
    while back and back[-1] == "0" and fraction[len(back) - 1] in "#?":
        back = back[:-1]
    front = front.zfill(whole.count("0"))
    if front == "0" and "0" not in whole:
        front = ""
    if "," in whole:
        front = re.sub(r"\B(?=(\d{3})+$)", ",", front)
    return f"{sign}{front}.{back}" if back else sign + front


def _assembled(tokens: Sequence[Sequence[str]], digits: str) -> str:
    pieces, is_given = [], False
    for token in tokens:
        if token[_DIGITS]:
            pieces += [] if is_given else [digits]
            is_given = True
        else:
            pieces.append(token[_TEXT] or token[_ESCAPED] or token[_CURRENCY] or token[_OTHER] or token[_TIME] or "")
            pieces += [" "] if token[_SPACE] else []
    return "".join(pieces)


@lru_cache(maxsize=512)
def _sections(number_format: str) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """The format's parts for positive, negative and zero, each in tokens."""
    sections: list[list[tuple[str, ...]]] = [[]]
    for match in _TOKEN.finditer(number_format):
        if match[0] == ";":
            sections.append([])
        else:
            sections[-1].append((match[0], *(group or "" for group in match.groups())))
    return tuple(map(tuple, sections))


def _date(value: dt.datetime | dt.date | dt.time, number_format: str) -> str:
    if (
        number_format in COUNTRY_DATES
        or number_format.startswith("[$-F")
        or not re.search(r"[ydmhs]", number_format, re.IGNORECASE)
    ):
        return _iso(value)
    tokens = _sections(number_format)[0]
    is_half = any(token[_HALF] for token in tokens)
    pieces: list[str] = []
    last = ""
    for number, token in enumerate(tokens):
        kind = token[_TIME].lower()
        if kind.startswith("m"):
            after = next((later[_TIME].lower() for later in tokens[number + 1 :] if later[_TIME]), "")
            kind = kind.replace("m", "n") if last[:1] == "h" or after[:1] == "s" else kind
        pieces.append(_part(value, kind, token, is_half=is_half))
        last = kind or last
    return "".join(pieces).strip()


def _part(value: dt.datetime | dt.date | dt.time, kind: str, token: Sequence[str], *, is_half: bool) -> str:
    at: dict[str, str] = {}
    if isinstance(value, dt.date):
        at |= {"y": f"{value:%y}", "yy": f"{value:%y}", "yyy": f"{value.year:04}", "yyyy": f"{value.year:04}", "m": str(value.month), "mm": f"{value:%m}", "mmm": f"{value:%b}", "mmmm": f"{value:%B}", "mmmmm": f"{value:%b}", "d": str(value.day), "dd": f"{value:%d}", "ddd": f"{value:%a}", "dddd": f"{value:%A}"}  # fmt: skip
    if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
        hour = (value.hour % 12 or 12) if is_half else value.hour
        at |= {"h": str(hour), "hh": f"{hour:02}", "n": str(value.minute), "nn": f"{value.minute:02}", "s": str(value.second), "ss": f"{value.second:02}"}  # fmt: skip
        if token[_HALF]:
            return "AM" if value.hour < 12 else "PM"
    if kind:
        return at.get(kind.partition(".")[0], "")
    return token[_TEXT] or token[_ESCAPED] or token[_OTHER] or (" " if token[_SPACE] else "") or token[_DIGITS]


def _iso(value: dt.datetime | dt.date | dt.time) -> str:
    if isinstance(value, dt.datetime):
        return value.date().isoformat() if value.time() == dt.time() else value.isoformat(" ", "seconds")
    return value.isoformat()


def _elapsed(value: dt.timedelta, number_format: str) -> str:
    """A length of time: `30:15:00`, with the hours of whole days in the hours where the format says so."""
    total = round(value.total_seconds())
    hours, rest = divmod(abs(total), 3600)
    sign = "-" if total < 0 else ""
    shows_seconds = "s" in number_format.lower()
    return f"{sign}{hours}:{rest // 60:02}" + (f":{rest % 60:02}" if shows_seconds or rest % 60 else "")
