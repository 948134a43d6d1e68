"""Markdown to blocks: CommonMark with GitHub's tables, front matter, footnotes and definitions. Runs in the parser's process."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from copy import copy
from html import escape
from typing import Any

from headrace.errors import DocumentError
from headrace.parsers.html import BLOCKS, HEADINGS, ROWS, read_html
from headrace.types import Block

MAX_DEPTH = 100
INLINE = frozenset(
    """
    a abbr b bdi bdo big br cite code data del dfn em font i img input ins kbd label mark meter nobr output picture progress q rp
    rt ruby s samp script small source span strike strong style sub sup svg path template time tt u var wbr noscript iframe video
    audio col colgroup title
    """.split()
)
KNOWN = BLOCKS | ROWS | INLINE | HEADINGS.keys()
_TAG = re.compile(r"""</?([A-Za-z][\w:-]*)((?:\s+[\w:.@-]+(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'=<>`]+))?)*)\s*/?>""")
BARE_ATTRIBUTES = frozenset(
    "hidden open checked disabled selected reversed readonly required multiple nowrap compact inert".split()
)


def read_markdown(text: str) -> Iterator[Block]:
    """The file's blocks. Raises DocumentError for what is nested too deeply."""
    front, text = _front_matter(text)
    if front:
        yield Block(front)
    yield from read_html(markdown_to_html(text))


def markdown_to_html(text: str) -> str:
    """A page of it, in which what only looks like a tag (`<your-token>`) is text."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.deflist import deflist_plugin
    from mdit_py_plugins.footnote import footnote_plugin

    reader = MarkdownIt("commonmark", {"html": True, "maxNesting": MAX_DEPTH}).enable(["table", "strikethrough"])
    reader.use(deflist_plugin).use(footnote_plugin)
    tokens = reader.parse(text)
    # What is nested deeper is left out there, in silence.
    if any(token.level >= MAX_DEPTH - 1 for token in tokens):
        raise DocumentError(f"The file is nested deeper than {MAX_DEPTH} levels. Flatten it.")
    _end_tables(tokens, text.split("\n"))
    for token in tokens:
        for part in (token, *(token.children or ())):
            if part.type in {"html_block", "html_inline"}:
                part.content = _TAG.sub(lambda match: match[0] if _is_tag(match) else escape(match[0]), part.content)
    return str(reader.renderer.render(tokens, reader.options, {}))


def _end_tables(tokens: list[Any], lines: Sequence[str]) -> None:
    """A line without a bar, right below a table, is text; GitHub takes it for a row."""
    after: list[Any] = []
    number = 0
    while number < len(tokens):
        token = tokens[number]
        if token.type == "tr_open" and token.map and "|" not in lines[token.map[0]]:
            end = next(at for at in range(number, len(tokens)) if tokens[at].type == "tr_close")
            after += [part for part in tokens[number:end] if part.type == "inline" and part.content]
            del tokens[number : end + 1]
            continue
        if token.type == "table_close" and after:
            for text in after:
                parts = (copy(token), text, copy(token))
                parts[0].type, parts[0].tag, parts[0].nesting = "paragraph_open", "p", 1
                parts[2].type, parts[2].tag = "paragraph_close", "p"
                tokens[number + 1 : number + 1] = parts
            after = []
        number += 1


def _is_tag(match: re.Match[str]) -> bool:
    bare = re.sub(r"=\s*(?:\"[^\"]*\"|'[^']*'|\S+)", "=x", match[2])
    names = {name.lower() for name in bare.split() if "=" not in name}
    return match[1].lower() in KNOWN and names <= BARE_ATTRIBUTES


def _front_matter(text: str) -> tuple[str, str]:
    """What stands between `---` at the top, as `name: value; …`, and the rest."""
    match = re.match(r"\ufeff?---[ \t]*\r?\n(.*?\r?\n)(?:---|\.\.\.)[ \t]*(?:\r?\n|$)", text, re.DOTALL)
    if not match or not re.search(r"^[\w-]+[ \t]*:", match[1], re.MULTILINE):
        return "", text
    lines = (line.strip() for line in match[1].splitlines())
    return "; ".join(line for line in lines if line and not line.startswith("#")), text[match.end() :]
