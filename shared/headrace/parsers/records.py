"""JSON and lines of JSON to blocks: one a record, at any depth. Runs in the parser's process.

A record is an object in a list. It is one block, whatever stands around it; one that is too long for a chunk is cut where its
parts end, and each part says again whose it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from headrace.errors import DocumentError
from headrace.parsers.detection import decoded
from headrace.types import Block

MAX_DEPTH = 100
# What a chunk holds.
MOST_CHARACTERS = 900
MOST_KEY_CHARACTERS = 80
MOST_KEYS = 2


def read_json(content: bytes) -> Iterator[Block]:
    """A block for each record of a list, and for each part of an object; what is in it as `path.to.it: value`."""
    value = _loads(decoded(content).text, "The file")
    _refuse_depth(value, 0)
    yield from _part(value, (), "", "")


def read_ndjson(path: Path) -> Iterator[Block]:
    """A record a line."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                value = _loads(line.decode("utf-8-sig", "replace"), f"Line {number} of the file")
                _refuse_depth(value, 0)
                yield from _record(value, (), f"line {number}")


def _part(value: Any, section: tuple[str, ...], spot: str, whose: str) -> Iterator[Block]:
    """A value that is no record: its single values together, each part that has parts on its own."""
    if isinstance(value, list):
        if any(isinstance(item, dict | list) for item in value):
            for number, item in enumerate(value):
                yield from _record(item, section, f"{spot}[{number}]", whose)
        else:
            yield from _packed([_said("", item) for item in value], section, spot, whose)
        return
    if not isinstance(value, dict):
        yield from _packed([_said("", value)], section, spot, whose)
        return
    text = "; ".join(_leaves(value, ""))
    if section and len(whose) + len(text) <= MOST_CHARACTERS and not _has_records(value):
        yield from _packed([text], section, spot, whose)
        return
    single = {name: item for name, item in value.items() if not isinstance(item, dict | list)}
    yield from _packed([_said(name, item) for name, item in single.items()], section, spot, whose)
    for name, item in value.items():
        if name not in single:
            yield from _part(item, (*section, str(name)), f"{spot}.{name}" if spot else str(name), whose)


def _record(value: Any, section: tuple[str, ...], spot: str, whose: str = "") -> Iterator[Block]:
    text = "; ".join(_leaves(value, ""))
    if not isinstance(value, dict) or len(whose) + len(text) <= MOST_CHARACTERS:
        yield from _packed([text], section, spot, whose)
    else:
        yield from _part(value, section, spot, "; ".join(filter(None, (whose, _keys(value)))))


def _keys(record: dict[str, Any]) -> str:
    """What a record is known by: its first short values."""
    return first_short(_said(name, item) for name, item in record.items() if not isinstance(item, dict | list))


def first_short(texts: Iterable[str]) -> str:
    """The first few of the texts that are short, together."""
    return "; ".join(islice((text for text in texts if 0 < len(text) <= MOST_KEY_CHARACTERS), MOST_KEYS))


def _packed(texts: Iterable[str], section: tuple[str, ...], spot: str, whose: str) -> Iterator[Block]:
    """The texts in as few blocks as a chunk's size allows, each with the keys of the record that it is of."""
    pack = ""
    for text in filter(None, texts):
        if pack and len(whose) + len(pack) + len(text) > MOST_CHARACTERS:
            yield _block(pack, section, spot, whose)
            pack = ""
        pack = f"{pack}; {text}" if pack else text
    if pack:
        yield _block(pack, section, spot, whose)


def _block(text: str, section: tuple[str, ...], spot: str, whose: str) -> Block:
    return Block(text if not whose or text.startswith(whose) else f"{whose}; {text}", None, section, (), spot)


def _has_records(value: Any) -> bool:
    if isinstance(value, list):
        return any(isinstance(item, dict) for item in value)
    return isinstance(value, dict) and any(map(_has_records, value.values()))


def _leaves(value: Any, name: str) -> Iterator[str]:
    """All that a value holds, as `path.to.it: text`; the values of a list that has no more in it stand together."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        if any(isinstance(item, dict | list) for item in value):
            for item in value:
                yield from _leaves(item, name)
        elif texts := [_said("", item) for item in value if _said("", item)]:
            yield f"{name}: {', '.join(texts)}" if name else ", ".join(texts)
    elif said := _said(name, value):
        yield said


def _said(name: str, value: Any) -> str:
    if value is None or value == "":
        return ""
    text = json.dumps(value) if isinstance(value, bool | float) else " ".join(str(value).split())
    return f"{name}: {text}" if name else text


def _refuse_depth(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise DocumentError(f"The JSON is nested deeper than {MAX_DEPTH} levels. Flatten it.")
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, dict | list):
                _refuse_depth(item, depth + 1)


def _loads(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise DocumentError(f"{what} is nested too deeply. Flatten it.") from error
    except ValueError as error:
        raise DocumentError(f"{what} is not valid JSON: {error}. Correct it and upload it again.") from error
