"""Whether all words of a file came out: those that it holds, counted apart from its reader, against those of the blocks."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from headrace.parsers.archives import local_name, part_of, xml_of
from headrace.parsers.kinds import Kind
from headrace.types import Block, Note

# What is less is a matter of where a word ends.
TOLERATED_SHARE = 0.002
TOLERATED_CHARACTERS = 12
MOST_SHOWN = 5
_WORD = re.compile(r"\w+")
# The parts of each kind of archive whose words are shown.
_PARTS: Mapping[Kind, re.Pattern[str]] = {
    Kind.DOCX: re.compile(r"word/(document|footnotes|endnotes|comments|header\d*|footer\d*)\.xml"),
    Kind.PPTX: re.compile(r"ppt/(slides|notesSlides)/\w+\.xml"),
    Kind.ODT: re.compile(r"content\.xml"),
}
# Slide numbers and dates are fields (`fld`), which say what they are when they are shown.
_HIDDEN = frozenset("del moveFrom Fallback fld tracked-changes table-of-content".split())
_PARTING = frozenset("p h s tab line-break".split())


def missing_note(kind: Kind, path: Path, blocks: Iterable[Block]) -> Note | None:
    """What of the file is in no block, in a sentence; None where nothing is, or where it isn't known."""
    if kind not in _PARTS:
        return None
    return difference(_held(kind, path), (text for block in blocks for text in (block.text, *block.section)))


def difference(held: Iterable[str], read: Iterable[str]) -> Note | None:
    """The words of the one that are nowhere in the other."""
    found = {word for text in read for word in _words(text)}
    characters = lost = 0
    missing: dict[str, None] = {}
    for text in held:
        for word in _words(text):
            characters += len(word)
            if word not in found:
                lost += len(word)
                missing[word] = None
    if lost <= max(TOLERATED_CHARACTERS, TOLERATED_SHARE * characters):
        return None
    shown = ", ".join(list(missing)[:MOST_SHOWN])
    return Note(
        f"Of {characters:,} characters that the file holds, {characters - lost:,} were read. Not read, among others: {shown}."
    )


def _words(text: str) -> Iterator[str]:
    return (match[0].casefold() for match in _WORD.finditer(text))


def _held(kind: Kind, path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if _PARTS[kind].fullmatch(name):
                root = xml_of(part_of(archive, name))
                yield from ["".join(_open_document(root))] if kind is Kind.ODT else _paragraphs(root)


def _paragraphs(root: Any) -> Iterator[str]:
    """The paragraphs of an Office file, without those within them: their texts stand in elements called `t`."""
    for element in root.iter("{*}p"):
        own = (part for part in element.iter("{*}t") if next(part.iterancestors("{*}p")) is element)
        yield "".join(part.text or "" for part in own if not _is_hidden(part))


def _open_document(element: Any) -> Iterator[str]:
    """All text of an OpenDocument's element: its spaces are elements, too."""
    if (name := local_name(element)) in _HIDDEN:
        return
    yield " " if name in _PARTING else ""
    yield element.text or ""
    for child in element:
        yield from _open_document(child)
        yield child.tail or ""


def _is_hidden(part: Any) -> bool:
    return any(local_name(above) in _HIDDEN or _vanishes(above) for above in part.iterancestors())


def _vanishes(run: Any) -> bool:
    return run.find("{*}rPr/{*}vanish") is not None
