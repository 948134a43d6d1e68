"""What a table's columns are called: told by the format where it marks headers, else by the rows themselves.

A header is the first row that is about as wide as the rows below it and unlike them in type: words above numbers, dates or
codes. Rows above it that are narrower say what the table is about. Where rows don't tell, no column has a name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from headrace.parsers.grid import Row

MOST_HEADER_ROWS = 4
MOST_LABEL_CHARACTERS = 100
MOST_KEY_CHARACTERS = 80
JOINER = " · "
# Of a column's cells, how many must be alike for it to have a type.
ALIKE = 0.8
ENOUGH_CODES = 3
# What stands where a value is missing.
MISSING = frozenset({"-", "–", "—", "?", ".", "n/a", "na", "none", "null", "k.a."})
_NUMBER = r"[-+\u2212(]?\d[\d.,'’ \u00a0\u202f]*\)?"
_DATE = re.compile(
    r"\d{4}-\d{1,2}(?:-\d{1,2})?(?:[ T].*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d{1,2}\.? \w{3,9}\.? \d{4}|\w{3,9}\.? (?:\d{1,2}, )?\d{4}"
)
_YEAR = re.compile(r"(?:19|20)\d\d")
_LETTER = re.compile(r"[^\W\d_]")


class Type(Enum):
    """What a cell is, by its looks. A column of several is MIXED, one without any value NONE."""

    NONE = 0
    TEXT = 1
    NUMBER = 2
    AMOUNT = 3
    DATE = 4
    TIME = 5
    CODE = 6
    MIXED = 7


_PATTERNS = (
    (Type.NUMBER, re.compile(_NUMBER)),
    (Type.TIME, re.compile(r"\d{1,3}:\d\d(?::\d\d)?(?: ?[ap]\.?m\.?)?", re.IGNORECASE)),
    (Type.DATE, _DATE),
    # A number with a unit or a currency: 14 kg, € 40, 5.75%, EUR 500.
    (
        Type.AMOUNT,
        re.compile(rf"(?:[A-Z]{{2,3}}|[^\w\s]{{1,2}}) ?{_NUMBER}|{_NUMBER} ?(?:[^\W\d]{{1,8}}[²³]?|[^\w\s])"),
    ),
    (Type.CODE, re.compile(r"(?=\S*\d)\S+")),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a table is read. `titles` rows above it say what it is about, the next `headers` rows what its columns are called.

    `labels` are the columns' names, empty where none is known; `types` what is in them. `is_pairs`: each row is a key and its
    value.
    """

    titles: int = 0
    headers: int = 0
    labels: Mapping[int, str] = field(default_factory=dict)
    types: Mapping[int, Type] = field(default_factory=dict)
    is_pairs: bool = False

    def begins_another(self, row: Row) -> bool:
        """Whether a row can't be of this table: it is wider than all that is named."""
        if self.is_pairs:
            return len(row.texts) > 2
        return bool(self.labels) and max(row.cells, default=0) > max(self.labels)


def layout_of(rows: Sequence[Row], last: Layout | None = None) -> Layout:
    """The layout of a table that begins with these rows, none of them empty. `last` is the one of the table above it."""
    titles = _count_titles(rows)
    rows = rows[titles:]
    if last is not None and _goes_on(rows, last):
        return Layout(titles, 0, last.labels, last.types)
    headers = _count_marked(rows) or _count_headers(rows)
    labels = _labels(rows[:headers])
    types = _types(rows[headers:])
    is_pairs = not headers and _are_pairs(rows)
    return Layout(titles, headers, labels, types, is_pairs)


def type_of(text: str) -> Type:
    """What a cell is, by its looks."""
    if text.casefold() in MISSING:
        return Type.NONE
    return next((kind for kind, pattern in _PATTERNS if pattern.fullmatch(text)), Type.TEXT)


def _count_titles(rows: Sequence[Row]) -> int:
    """How many rows at the top are much narrower than the table."""
    counts = Counter(len(row.texts) for row in rows)
    usual = max(counts, key=lambda width: (counts[width], width))
    usual = max(usual, len(rows[-1].texts)) if len(rows) < 4 else usual
    titles = 0
    while titles < len(rows) - 1:
        width = len(rows[titles].texts)
        if rows[titles].marked and width > 1:
            break
        if not (width == 1 < usual or (usual > 2 and width * 2 <= usual)):
            break
        titles += 1
    return titles


def _count_marked(rows: Sequence[Row]) -> int:
    """How many rows at the top the format calls headers; none where it calls all of them so."""
    count = 0
    while count < len(rows) and rows[count].cells and rows[count].marked >= rows[count].cells.keys():
        count += 1
    return count if count < len(rows) and count <= MOST_HEADER_ROWS else 0


def _count_headers(rows: Sequence[Row]) -> int:
    """How many rows at the top are headers by their looks."""
    count = _count_wordy(rows)
    # A header may be printed again further down.
    header, body = rows[:count], [row for row in rows[count:] if row.cells != rows[0].cells]
    if not count or not body or any(row.marked for row in body):
        return 0
    labels, types = _labels(header), _types(body)
    columns = {column for row in body for column in row.cells}
    often = {column for column in columns if sum(column in row.cells for row in body) * 2 > len(body)}
    if not (often - {min(columns)}) <= labels.keys() or len(labels) < 2:
        return 0
    if len(columns) > 2:
        # Nothing but words: what comes first in a table is what its columns are called.
        unique = all(text not in {row.cells.get(column) for row in body} for column, text in labels.items())
        return count if unique and Type.TEXT in map(type_of, labels.values()) else 0
    differs = any(_tells(types.get(column, Type.NONE), body) for column in labels)
    return count if differs or _is_written_otherwise(labels, body) else 0


def _tells(kind: Type, body: Sequence[Row]) -> bool:
    """Whether a column of that type below words shows that the words are its name."""
    if kind is Type.CODE:
        return len(body) >= ENOUGH_CODES
    return kind not in {Type.NONE, Type.TEXT, Type.MIXED}


def _count_wordy(rows: Sequence[Row]) -> int:
    """How many rows at the top can be headers: words alone, more than one row where the upper ones span or leave gaps."""
    count = 0
    while count < min(MOST_HEADER_ROWS, len(rows) - 1) and _is_wordy(rows[count]):
        count += 1
        above = rows[count - 1]
        gaps = rows[count].cells.keys() - above.cells.keys()
        if not above.spanned and not gaps:
            break
    return count


def _is_wordy(row: Row) -> bool:
    texts = row.texts
    names = [type_of(text) for text in texts]
    words = all(kind is Type.TEXT or _YEAR.fullmatch(text) for kind, text in zip(names, texts, strict=True))
    return words and max(map(len, texts), default=0) <= MOST_LABEL_CHARACTERS


def _is_written_otherwise(labels: Mapping[int, str], body: Sequence[Row]) -> bool:
    """Whether names begin in small letters, as programs write them, and what is below them does not; or the other way round."""
    small = [label[0].islower() for label in labels.values()]
    below = [row.cells[column][0] for row in body for column in labels if column in row.cells]
    if all(small):
        return any(letter.isupper() for letter in below)
    return (
        not any(small) and any(letter.islower() for letter in below) and not any(letter.isupper() for letter in below)
    )


def _labels(rows: Sequence[Row]) -> dict[int, str]:
    """The names of several header rows joined from top to bottom, gaps of the upper ones filled from the left."""
    columns = sorted({column for row in rows for column in row.cells})
    labels = {}
    for column in columns:
        parts = []
        for number, row in enumerate(rows):
            text = row.cells.get(column, "")
            if not text and number < len(rows) - 1 and not row.spanned:
                text = next((row.cells[left] for left in range(column, 0, -1) if left in row.cells), "")
            parts += [text] if text else []
        labels[column] = JOINER.join(dict.fromkeys(parts))
    return labels


def _types(rows: Sequence[Row]) -> dict[int, Type]:
    """What each column holds."""
    types = {}
    for column in sorted({column for row in rows for column in row.cells}):
        found = Counter(type_of(row.cells[column]) for row in rows if column in row.cells)
        del found[Type.NONE]
        most, number = found.most_common(1)[0] if found else (Type.NONE, 0)
        types[column] = most if number >= ALIKE * found.total() else Type.MIXED
    return types


def _goes_on(rows: Sequence[Row], last: Layout) -> bool:
    """Whether rows below an empty one are more of the table above it: as many columns, and the same in each of them."""
    types = _types(rows)
    if not last.labels or not types.keys() <= last.labels.keys():
        return False
    pairs = [(types[column], last.types.get(column, Type.NONE)) for column in types]
    telling = [(new, old) for new, old in pairs if Type.NONE not in {new, old} and Type.MIXED not in {new, old}]
    first = [
        type_of(rows[0].cells[column])
        for column in types
        if column in rows[0].cells and last.types.get(column) is not Type.TEXT
    ]
    return (
        any(new is not Type.TEXT for new, _ in telling)
        and all(new is old for new, old in telling)
        and any(kind is not Type.TEXT for kind in first)
    )


def _are_pairs(rows: Sequence[Row]) -> bool:
    """Whether there are two columns, a name on the left, each once, and its value on the right."""
    columns = sorted({column for row in rows for column in row.cells})
    if len(columns) != 2 or len(rows) < 2:
        return False
    keys = [row.cells.get(columns[0], "") for row in rows]
    named = [key for key in keys if key]
    is_named = all(len(key) <= MOST_KEY_CHARACTERS and _LETTER.search(key) for key in named)
    both = sum(len(row.cells) == 2 for row in rows)
    return is_named and len(set(named)) == len(keys) and both * 2 > len(rows)
