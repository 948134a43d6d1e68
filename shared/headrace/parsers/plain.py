"""Text, JSON and lines of JSON to blocks. Runs in the parser's process.

Plain text is read here, paragraph by paragraph, where unstructured would take every short line for a title and
sixteen seconds for ten megabytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from headrace.errors import DocumentError
from headrace.types import Block

MAX_DEPTH = 100
_PARAGRAPH = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
_LIST_ITEM = re.compile(r"^[ \t]*(?:[•◦▪–—*·-]|\(?\d{1,3}[.)]|\(?[a-z][.)])[ \t]+", re.MULTILINE)


def read_text(text: str) -> Iterator[Block]:
    """A block a paragraph, and a block a list item. Pages are told by form feeds, where there are any."""
    pages = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "").split("\f")
    for number, page in enumerate(pages, 1):
        for paragraph in _PARAGRAPH.split(page):
            for piece in _pieces(paragraph):
                yield Block(piece, number if len(pages) > 1 else None)


def read_json(content: bytes) -> list[Block]:
    """A block for each element of a list, or each part of an object; what is in it as `name: value`."""
    value = _loads(content, "The file")
    groups: list[tuple[tuple[str, ...], Any]]
    if isinstance(value, list):
        groups = [((), item) for item in value]
    elif isinstance(value, dict):
        groups = [
            ((str(key),), item) if isinstance(item, dict | list) else ((), {key: item}) for key, item in value.items()
        ]
    else:
        groups = [((), value)]
    texts = ((section, leaves(item)) for section, item in groups)
    return [Block(text, None, section) for section, text in texts if text]


def read_ndjson(path: Path) -> Iterator[Block]:
    """A block a line."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield Block(leaves(_loads(line, f"Line {number} of the file")))


def leaves(value: object) -> str:
    """All that a value holds, as `path.to.it: text; …`. Raises DocumentError when it is nested too deeply."""
    return "; ".join(_leaves(value, "", 0))


def _leaves(value: object, name: str, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise DocumentError(f"The JSON is nested deeper than {MAX_DEPTH} levels. Flatten it.")
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}" if name else str(key), depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, name, depth + 1)
    elif value is not None:
        yield f"{name}: {value}" if name else str(value)


def _loads(content: bytes, what: str) -> Any:
    try:
        return json.loads(content)
    except RecursionError as error:
        raise DocumentError(f"{what} is nested too deeply. Flatten it.") from error
    except ValueError as error:
        raise DocumentError(f"{what} is not valid JSON: {error}. Correct it and upload it again.") from error


def _pieces(paragraph: str) -> Iterable[str]:
    """The paragraph, or its list items, each on one line."""
    starts = [match.start() for match in _LIST_ITEM.finditer(paragraph)]
    if len(starts) < 2:
        starts = []
    ends = [*starts, len(paragraph)]
    pieces = [paragraph[: ends[0]], *(paragraph[start:end] for start, end in zip(starts, ends[1:], strict=False))]
    return filter(None, (" ".join(piece.split()) for piece in pieces))
