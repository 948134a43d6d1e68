"""HTML, Markdown, Word and PowerPoint through unstructured. Imported only in the parser's process.

Offline by construction: no telemetry, no model downloads, no language detection.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lxml import html as lxml_html

from headrace.errors import DocumentError
from headrace.parsers import language
from headrace.parsers.elements import blocks_of
from headrace.types import Block

os.environ.update(DO_NOT_TRACK="1", SCARF_NO_ANALYTICS="true", UNSTRUCTURED_DISABLE_NOTICE="1", HF_HUB_OFFLINE="1")
language.install()

LANGUAGES = ["eng"]


def read_office(path: Path, *, name: str) -> Iterator[Block]:
    """A docx or pptx file."""
    from unstructured.partition.auto import partition

    try:
        with path.open("rb") as file:
            elements = partition(file=file, metadata_filename=name, languages=LANGUAGES, strategy="fast")
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DocumentError("The file can't be opened: a part of it is damaged. Save it anew.") from error
    return _blocks(elements)


def read_html(text: str) -> Iterator[Block]:
    """A page; its scripts and styles are left out. Raises DocumentError when its end would be lost."""
    from unstructured.partition.html import partition_html

    _refuse_depths(text)
    return _blocks(partition_html(text=text, languages=LANGUAGES)) if text.strip() else iter(())


def read_markdown(text: str) -> Iterator[Block]:
    """Markdown, with its tables."""
    from unstructured.partition.md import partition_md

    return _blocks(partition_md(text=text, languages=LANGUAGES)) if text.strip() else iter(())


def _refuse_depths(text: str) -> None:
    """What is nested too deeply is left out by the library that reads it, in silence."""
    parser = lxml_html.HTMLParser()
    if text.strip():
        lxml_html.document_fromstring(text.encode(), parser=parser)
    if any(entry.type_name == "ERR_RESOURCE_LIMIT" for entry in parser.error_log):
        raise DocumentError("The page is nested deeper than 256 levels. Flatten it.")


def _blocks(elements: Iterable[Any]) -> Iterator[Block]:
    return blocks_of(element.to_dict() for element in elements)
