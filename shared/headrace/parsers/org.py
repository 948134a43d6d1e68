"""Org mode to blocks: headings with what stands below them, tables, lists and code. Runs in the parser's process.

Written here, because the one library for it (orgparse) drops planning lines, `#` within code, and lines beside a table.

Reference: https://orgmode.org/worg/org-syntax.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape

from headrace.parsers.html import read_html
from headrace.types import Block

_HEADING = re.compile(r"(\*+)[ \t]+(.*)")
_BEGIN = re.compile(r"[ \t]*#\+begin_(\w+)", re.IGNORECASE)
_KEYWORD = re.compile(r"[ \t]*#\+(\w+):[ \t]*(.*)")
_SHOWN_KEYWORDS = frozenset({"title", "subtitle", "author", "date", "description", "caption", "email"})
_ITEM = re.compile(r"([ \t]*)(?:[-+]|(\d+|[a-zA-Z])[.)]|\*(?<=[ \t]\*))[ \t]+(.*)")
_RULE = re.compile(r"[ \t]*\|[-+|:= \t]+$")
_DRAWER = re.compile(r"[ \t]*:([\w-]+):[ \t]*$")
_PROPERTY = re.compile(r"[ \t]*:([\w+-]+):[ \t]+(.*)")
_LINK = re.compile(r"\[\[([^\[\]]+)\](?:\[([^\[\]]+)\])?\]")


def read_org(text: str) -> Iterator[Block]:
    """The file's blocks."""
    return read_html("".join(_parts(text.splitlines())))


def _parts(lines: Sequence[str]) -> Iterator[str]:
    number, paragraph = 0, list[str]()
    while number < len(lines):
        line = lines[number]
        part, used = _part(lines, number)
        if part is None:
            paragraph.append(line)
        else:
            yield from _paragraph(paragraph)
            yield part
        number += used
    yield from _paragraph(paragraph)


def _part(lines: Sequence[str], number: int) -> tuple[str | None, int]:
    """The HTML of what begins in a line, and how many lines it takes; None where the line is one of a paragraph."""
    line = lines[number]
    if not line.strip():
        return "", 1
    if heading := _HEADING.match(line):
        level = min(len(heading[1]), 6)
        return f"<h{level}>{_inline(heading[2])}</h{level}>", 1
    if begin := _BEGIN.match(line):
        return _block(lines, number, begin[1].lower())
    if line.lstrip().startswith("|"):
        return _table(lines, number)
    if item := _ITEM.match(line):
        return _item(lines, number, item)
    if keyword := _KEYWORD.match(line):
        shown = keyword[1].lower() in _SHOWN_KEYWORDS
        return f"<p>{keyword[1].title()}: {_inline(keyword[2])}</p>" if shown else "", 1
    if value := _PROPERTY.match(line):
        return f"<p>{escape(value[1])}: {_inline(value[2])}</p>", 1
    is_comment = re.match(r"[ \t]*#(?:[ \t]|$)", line)
    return ("", 1) if is_comment or _DRAWER.match(line) else (None, 1)


def _paragraph(lines: list[str]) -> Iterator[str]:
    if lines:
        yield f"<p>{_inline(' '.join(lines))}</p>"
        lines.clear()


def _block(lines: Sequence[str], number: int, kind: str) -> tuple[str, int]:
    """Code and examples keep their lines; quotations and the like are read as any text; comments are left out."""
    end = number + 1
    while end < len(lines) and not re.match(rf"[ \t]*#\+end_{re.escape(kind)}\b", lines[end], re.IGNORECASE):
        end += 1
    inside = [re.sub(r"^([ \t]*),(?=[*#,])", r"\1", line) for line in lines[number + 1 : end]]
    if kind == "comment":
        return "", end - number + 1
    if kind in {"src", "example", "export", "verse"}:
        text = escape("\n".join(inside))
        return f"<pre>{text}</pre>", end - number + 1
    return f"<blockquote>{''.join(_parts(inside))}</blockquote>", end - number + 1


def _table(lines: Sequence[str], number: int) -> tuple[str, int]:
    """Rows up to a rule that has rows above it are headers."""
    end = number
    while end < len(lines) and lines[end].lstrip().startswith("|"):
        end += 1
    rows = lines[number:end]
    rules = [at for at, row in enumerate(rows) if _RULE.match(row) and "-" in row]
    headers = next((rule for rule in rules if any(at not in rules for at in range(rule))), 0)
    html = []
    for at, row in enumerate(rows):
        if at not in rules:
            tag = "th" if at < headers else "td"
            cells = row.strip().removeprefix("|").removesuffix("|").split("|")
            html.append(f"<tr>{''.join(f'<{tag}>{_inline(cell.strip())}</{tag}>' for cell in cells)}</tr>")
    return f"<table>{''.join(html)}</table>", end - number


def _item(lines: Sequence[str], number: int, item: re.Match[str]) -> tuple[str, int]:
    """A list item with the lines below it that are indented further."""
    indent = len(item[1].expandtabs())
    end = number + 1
    texts = [item[3]]
    while end < len(lines) and lines[end].strip() and not _ITEM.match(lines[end]) and not _HEADING.match(lines[end]):
        line = lines[end]
        if len(line.expandtabs()) - len(line.expandtabs().lstrip()) <= indent or line.lstrip().startswith(("|", "#+")):
            break
        texts.append(line.strip())
        end += 1
    text = re.sub(r"^(.+?) ::(?: |$)", r"\1: ", " ".join(texts))
    mark = f"{item[2]}. " if item[2] else ""
    return f"<li>{escape(mark)}{_inline(text)}</li>", end - number


def _inline(text: str) -> str:
    """A link as its words."""
    return escape(_LINK.sub(lambda link: link[2] or link[1], text))
