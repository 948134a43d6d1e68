"""HTML to blocks: every word that a browser shows, in its order. Runs in the parser's process.

Each text node is walked; tags decide only what kind of text it is. unstructured's own reader of HTML is not used: it drops what
stands in `details`, `figure`, `form` and tags that it doesn't know (docs/decisions.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from lxml import html as lxml_html

from headrace.errors import DocumentError
from headrace.parsers.grid import MOST_ROWS, Cell, spread
from headrace.parsers.tables import MAX_TITLE_CHARACTERS, read_rows
from headrace.types import Block

MOST_ATTRIBUTES = 2_000
HEADINGS = {f"h{level}": level for level in range(1, 7)}
# What a browser shows nothing of, or only where it can't show something else.
UNSEEN = frozenset(
    "script style template noscript head title meta link base iframe object embed video audio canvas datalist rp source track".split()
)
BLOCKS = frozenset(
    """
    address article aside blockquote body button center dd details dialog dir div dl dt fieldset figcaption figure footer form
    frameset h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu nav ol option optgroup p pre search section select
    summary table caption tbody td textarea tfoot th thead tr ul
    """.split()
)
# A cell that holds one of these is a part of the page's layout.
LAYOUT = frozenset({*HEADINGS, "table", "form", "article", "section", "nav", "main", "aside", "blockquote"})
ROWS = frozenset({"table", "thead", "tbody", "tfoot", "tr", "td", "th", "caption", "colgroup", "col"})
_HIDING = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_HIDING_RULE = re.compile(r"([^{}@]+)\{[^{}]*?(?:display\s*:\s*none|visibility\s*:\s*hidden)[^{}]*\}", re.IGNORECASE)
_SIMPLE_SELECTOR = re.compile(r"[.#][\w-]+")
# A tag that is long enough for so many attributes, with what it has in quotes.
_TAG = re.compile(r"""<[A-Za-z](?:[^"'>]|"[^"]*"|'[^']*'){4000,}+""")


def read_html(text: str, *, section: tuple[str, ...] = ()) -> Iterator[Block]:
    """A page's blocks, below the given section. Raises DocumentError when a part of it would be lost."""
    if not text.strip():
        return iter(())
    _refuse_attributes(text)
    parser = lxml_html.HTMLParser(encoding="utf-8")
    # A lone surrogate or a NUL is no character that a page can have.
    page = lxml_html.document_fromstring(text.encode("utf-8", "replace").replace(b"\x00", b""), parser=parser)
    if any(entry.type_name == "ERR_RESOURCE_LIMIT" for entry in parser.error_log):
        # What is nested more deeply is left out by the library, in silence.
        raise DocumentError("The page is nested deeper than 256 levels. Flatten it.")
    return _Walk(section, _hiding_names(page)).blocks(page)


def _refuse_attributes(text: str) -> None:
    """What has very many attributes takes the library that reads it the square of their number."""
    if any(tag.count(" ") + tag.count("\n") + tag.count("\t") > MOST_ATTRIBUTES for tag in _TAG.findall(text)):
        raise DocumentError(f"An element of the page has more than {MOST_ATTRIBUTES:,} attributes. Save the page anew.")


def _hiding_names(page: Any) -> frozenset[str]:
    """The classes and ids (`.draft`, `#old`) that the page's own styles hide."""
    rules = _HIDING_RULE.findall(" ".join(style.text or "" for style in page.iter("style")))
    names = (name.strip() for selectors in rules for name in selectors.split(","))
    return frozenset(name for name in names if _SIMPLE_SELECTOR.fullmatch(name))


@dataclass
class _Walk:
    """A walk through a page: the words since the last block, and what is above them."""

    section: tuple[str, ...]
    hiding: frozenset[str]
    headings: list[tuple[int, str]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    made: list[Block] = field(default_factory=list)
    # What the next block begins with: a list item's number, the term that is defined.
    mark: str = ""
    # Headings that hold until an element's end: the summary of details.
    inner: tuple[str, ...] = ()
    is_plain: bool = False

    def blocks(self, page: Any) -> Iterator[Block]:
        for element in page if page.tag == "html" else [page]:
            self._element(element)
            self._end_block()
            yield from self.made
            self.made.clear()

    @property
    def place(self) -> tuple[str, ...]:
        return (*self.section, *(title for _, title in self.headings), *self.inner)

    def _element(self, element: Any) -> None:
        tag = element.tag
        if not isinstance(tag, str) or self._is_hidden(element, tag):
            return
        # A custom element's name has a hyphen; what it looks like is not known, its words are not its neighbours'.
        is_block = tag in BLOCKS or "-" in tag
        if is_block:
            self._end_block()
        handler = getattr(self, f"_{tag}", None) if tag in _HANDLED else None
        if handler:
            handler(element)
        elif tag in HEADINGS:
            self._heading(element, HEADINGS[tag])
        else:
            self._inside(element)
        if is_block:
            self._end_block()

    def _inside(self, element: Any) -> None:
        self.words.append(element.text or "")
        for child in element:
            self._element(child)
            self.words.append(child.tail or "")

    @property
    def line(self) -> str:
        """The words since the last block, on one line."""
        return " ".join("".join(self.words).split())

    def _end_block(self) -> None:
        text = _kept_lines("".join(self.words)) if self.is_plain else self.line
        self.words.clear()
        if text:
            self.made.append(Block(self.mark + text, None, self.place))
            self.mark = ""

    def _is_hidden(self, element: Any, tag: str) -> bool:
        if tag in UNSEEN or element.get("hidden") is not None or element.get("aria-hidden", "").lower() == "true":
            return True
        if (tag == "dialog" and element.get("open") is None) or _HIDING.search(element.get("style", "")):
            return True
        if self.hiding:
            names = [f".{name}" for name in element.get("class", "").split()] + [f"#{element.get('id', '')}"]
            return not self.hiding.isdisjoint(names)
        return False

    def _heading(self, element: Any, level: int) -> None:
        self._inside(element)
        if title := self.line:
            self.headings = [
                *((above, text) for above, text in self.headings if above < level),
                (level, title[:MAX_TITLE_CHARACTERS]),
            ]
        self._end_block()

    def _br(self, _element: Any) -> None:
        self.words.append("\n")

    def _img(self, element: Any) -> None:
        if alt := element.get("alt", "").strip():
            self.words.append(f" {alt} ")

    _area = _img

    def _input(self, element: Any) -> None:
        kind = element.get("type", "text").lower()
        if kind not in {"hidden", "password", "checkbox", "radio", "file", "image"}:
            self.words.append(f" {element.get('value') or element.get('placeholder') or ''} ")

    def _q(self, element: Any) -> None:
        self.words.append("“")
        self._inside(element)
        self.words.append("”")

    def _rt(self, element: Any) -> None:
        self.words.append("(")
        self._inside(element)
        self.words.append(")")

    def _svg(self, element: Any) -> None:
        for part in element.iter("{*}title", "{*}desc", "{*}text", "title", "desc", "text"):
            self.words.append(f" {' '.join(part.itertext())} ")

    def _pre(self, element: Any) -> None:
        before, self.is_plain = self.is_plain, True
        self._inside(element)
        self._end_block()
        self.is_plain = before

    _textarea = _pre

    def _ol(self, element: Any) -> None:
        step = -1 if element.get("reversed") is not None else 1
        items = [child for child in element if child.tag == "li"]
        number = _whole(element.get("start"), len(items) if step < 0 else 1)
        self.words.append(element.text or "")
        for child in element:
            if child.tag == "li" and not self._is_hidden(child, "li"):
                self._end_block()
                number = _whole(child.get("value"), number)
                self.mark = f"{_numeral(number, element.get('type', '1'))}. "
                number += step
            self._element(child)
            self.words.append(child.tail or "")

    def _dl(self, element: Any) -> None:
        self._inside(element)
        self._end_terms()

    def _dt(self, element: Any) -> None:
        self._end_terms()
        self._inside(element)
        term = self.line
        self.words.clear()
        self.mark = f"{self.mark}{term}: " if term else self.mark

    def _end_terms(self) -> None:
        """A term that nothing defines is a line."""
        if self.mark.endswith(": "):
            self.words.append(self.mark.removesuffix(": "))
            self.mark = ""
            self._end_block()

    def _details(self, element: Any) -> None:
        before = self.inner
        self._inside(element)
        self._end_block()
        self.inner = before

    def _summary(self, element: Any) -> None:
        self._inside(element)
        title = self.line[:MAX_TITLE_CHARACTERS]
        self.inner = (*self.inner, title) if title else self.inner

    def _table(self, element: Any) -> None:
        rows = list(_rows_of(element))
        if _is_layout(element, rows):
            self._inside(element)
            return
        texts = [[self._cell(cell) for cell in row] for row in rows]
        before = self.inner
        for caption in element.iter("caption"):
            if not self._is_hidden(caption, "caption"):
                title = self._text_of(caption)
                self.inner = (*self.inner, title[:MAX_TITLE_CHARACTERS]) if title else self.inner
                self.words.append(title)
                self._end_block()
        self.made.extend(read_rows(spread(texts), section=self.place))
        self.inner = before

    def _cell(self, element: Any) -> Cell:
        text = "" if self._is_hidden(element, element.tag) else self._text_of(element)
        is_header = element.tag == "th" or element.get("scope", "") != "" or _within(element, "thead")
        columns, rows = _whole(element.get("colspan"), 1), _whole(element.get("rowspan"), 1)
        # A span of 0 reaches to the table's end.
        return Cell(text, is_header, max(columns, 1), MOST_ROWS if rows == 0 else max(rows, 1))

    def _text_of(self, element: Any) -> str:
        walk = _Walk((), self.hiding)
        walk._inside(element)
        walk._end_block()
        return " ".join(block.text for block in walk.made)


_HANDLED = frozenset("br img area input q rt svg pre textarea ol dl dt details summary table".split())


def _kept_lines(text: str) -> str:
    """The lines of a preformatted text, without empty ones at its ends."""
    lines = [line.rstrip() for line in text.expandtabs(4).splitlines()]
    while lines and not lines[0]:
        lines.pop(0)
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join(lines)


def _whole(text: str | None, otherwise: int) -> int:
    match = re.match(r"\s*(-?\d{1,7})", text or "")
    return int(match[1]) if match else otherwise


def _numeral(number: int, kind: str) -> str:
    """A list item's number as it is shown: 1, a, A, i, I."""
    if kind in {"a", "A"} and 0 < number <= 26:
        return chr(ord(kind) + number - 1)
    if kind in {"i", "I"} and 0 < number < 40:
        roman = "x" * (number // 10) + ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")[number % 10]
        return roman if kind == "i" else roman.upper()
    return str(number)


def _rows_of(table: Any) -> Iterator[list[Any]]:
    """The cells of each row, without those of tables within."""
    for child in table:
        if child.tag == "tr":
            yield [cell for cell in child if cell.tag in {"td", "th"}]
        elif child.tag in {"thead", "tbody", "tfoot"}:
            yield from _rows_of(child)


def _within(element: Any, tag: str) -> bool:
    row = element.getparent()
    return row is not None and row.getparent() is not None and row.getparent().tag == tag


def _is_layout(table: Any, rows: list[list[Any]]) -> bool:
    """Whether a table arranges a page: it says so, has one cell a row, cells that hold more than a value, or words beside its cells."""
    if table.get("role") in {"presentation", "none"}:
        return True
    cells = [cell for row in rows for cell in row]
    if not cells or max(map(len, rows)) < 2:
        return True
    if any(part.tag in LAYOUT for cell in cells for part in cell.iter() if part is not cell):
        return True
    return any(_stray(part) for part in table.iter() if part.tag in ROWS - {"td", "th", "caption"})


def _stray(element: Any) -> bool:
    """Whether words, or elements, stand between rows or cells, where none belong."""
    texts: Iterable[str | None] = (element.text, *(child.tail for child in element))
    return any(text and text.strip() for text in texts)
