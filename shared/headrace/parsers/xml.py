"""XML and drawings in SVG to blocks: one a record, sections by the elements' names. Runs in the parser's process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lxml import etree

from headrace.errors import DocumentError
from headrace.parsers.archives import local_name, xml_parser
from headrace.parsers.records import MOST_CHARACTERS, first_short
from headrace.types import Block

MAX_DEPTH = 100
MOST_ATTRIBUTES = 2_000
WORDS_OF_A_DRAWING = frozenset({"title", "desc", "text"})


def read_xml(path: Path) -> Iterator[Block]:
    """A block for each element that holds text of its own, or for a record of small ones; sections are the elements' names."""
    yield from _blocks(_root(path), (), "", "")


def read_svg(path: Path) -> Iterator[Block]:
    """The words in a drawing: its title, its description, and each text that it shows."""
    for element in _root(path).iter():
        if isinstance(element.tag, str) and local_name(element) in WORDS_OF_A_DRAWING and (text := _prose(element)):
            yield Block(text)


def _root(path: Path) -> Any:
    try:
        return etree.parse(path, xml_parser()).getroot()
    except (etree.XMLSyntaxError, OSError) as error:
        raise DocumentError(
            f"The file is not valid XML: {str(error).partition(', line')[0].rstrip('.')}. Correct it and upload it again."
        ) from error


def _blocks(element: Any, section: tuple[str, ...], spot: str, whose: str) -> Iterator[Block]:
    if len(section) > MAX_DEPTH:
        raise DocumentError(f"The XML is nested deeper than {MAX_DEPTH} levels. Flatten it.")
    children = list(element.iterchildren(tag=etree.Element))
    if not children or _is_mixed(element):
        text = "; ".join(filter(None, (*_attributes(element), _prose(element))))
        yield from _block(text, section, spot, whose)
        return
    record = "; ".join((*_attributes(element), *_leaves(element)))
    counts = Counter(child.tag for child in children)
    repeats = any(counts[child.tag] > 1 and (len(child) or child.attrib) for child in children)
    if section and not repeats and len(whose) + len(record) <= MOST_CHARACTERS:
        yield from _block(record, section, spot, whose)
        return
    yield from _block("; ".join(_attributes(element)), section, spot, whose)
    # One of several of its kind is known by its first short values, wherever it is cut.
    keys = "; ".join(filter(None, (whose, _keys(element)))) if spot.endswith("]") else whose
    seen: Counter[Any] = Counter()
    for child in children:
        name = local_name(child)
        place = f"{spot}.{name}" if spot else name
        place = f"{place}[{seen[child.tag] + 1}]" if counts[child.tag] > 1 else place
        seen[child.tag] += 1
        yield from _blocks(child, (*section, name), place, keys)


def _block(text: str, section: tuple[str, ...], spot: str, whose: str) -> Iterator[Block]:
    if text:
        yield Block(text if not whose or text in whose else f"{whose}; {text}", None, section, (), spot)


def _keys(element: Any) -> str:
    single = (child for child in element.iterchildren(tag=etree.Element) if not len(child))
    return first_short((*_attributes(element), *(f"{local_name(child)}: {_prose(child)}" for child in single)))


def _attributes(element: Any, prefix: str = "") -> list[str]:
    if len(element.attrib) > MOST_ATTRIBUTES:
        raise DocumentError(f"An element of the XML has more than {MOST_ATTRIBUTES:,} attributes. Make them elements.")
    return [f"{prefix}{etree.QName(name).localname}: {value}" for name, value in element.items() if value.strip()]


def _prose(element: Any) -> str:
    return " ".join(" ".join(element.itertext()).split())


def _is_mixed(element: Any) -> bool:
    """Whether text stands beside its elements: then it is prose, and read as a whole."""
    return bool((element.text or "").strip()) or any((child.tail or "").strip() for child in element)


def _leaves(element: Any) -> Iterator[str]:
    """Each element that has text, prose as a whole, as `name: text`, and each attribute as `name.attribute: value`."""
    for child in element.iterchildren(tag=etree.Element):
        yield from _attributes(child, f"{local_name(child)}.")
        if len(child) and not _is_mixed(child):
            yield from _leaves(child)
        elif text := _prose(child):
            yield f"{local_name(child)}: {text}"
