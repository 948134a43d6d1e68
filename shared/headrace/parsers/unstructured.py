"""Word and PowerPoint through unstructured, with what it passes over. Imported only in the parser's process.

Offline by construction: no telemetry, no model downloads, no language detection.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

from headrace.errors import DocumentError
from headrace.parsers import language
from headrace.parsers.elements import blocks_of
from headrace.parsers.slides import beside_slides
from headrace.parsers.word import mended
from headrace.types import Block

os.environ.update(DO_NOT_TRACK="1", SCARF_NO_ANALYTICS="true", UNSTRUCTURED_DISABLE_NOTICE="1", HF_HUB_OFFLINE="1")
# A short line of a slide is no title: slides have titles of their own.
os.environ["UNSTRUCTURED_TITLE_MAX_WORD_LENGTH"] = "0"
language.install()
with language.without_numpy():
    from unstructured.partition.docx import partition_docx
    from unstructured.partition.pptx import partition_pptx

LANGUAGES = ["eng"]
DAMAGED = "The file can't be opened: a part of it is damaged. Save it anew."


def read_docx(path: Path) -> Iterator[Block]:
    """A Word document."""
    try:
        elements = partition_docx(file=mended(path), languages=LANGUAGES)
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DocumentError(DAMAGED) from error
    return blocks_of(_told(elements))


def read_pptx(path: Path) -> Iterator[Block]:
    """A presentation: slides as pages, each under its own title, its notes and charts after its text.

    A hidden slide is read: it is hidden from a talk, not from its readers.
    """
    try:
        elements = partition_pptx(file=BytesIO(path.read_bytes()), include_slide_notes=True, languages=LANGUAGES)
        beside = list(beside_slides(path))
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DocumentError(DAMAGED) from error
    slides: dict[int, list[dict[str, Any]]] = {}
    for element in _told(elements):
        slides.setdefault(element["metadata"].get("page_number", 1), []).append(element)
    for number, more in enumerate(beside, 1):
        # No slide stands under the title of the one before it.
        blocks = list(blocks_of(_title_first(slides.get(number, []))))
        section = next((block.section for block in blocks if block.section), ())
        yield from blocks
        yield from (replace(block, page=number, section=section) for block in more)


def _title_first(elements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The slide's elements, its notes (which unstructured gives first) after them."""
    title = next((at for at, element in enumerate(elements) if element["type"] == "Title"), 0)
    return [*elements[title:], *elements[:title]]


def _told(elements: Iterable[Any]) -> Iterator[dict[str, Any]]:
    return (element.to_dict() for element in elements)
