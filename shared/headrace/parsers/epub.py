"""Books in EPUB to blocks: chapters in reading order. Runs in the parser's process."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import unquote

from headrace.errors import DocumentError
from headrace.parsers.archives import PROTECTED, part_of, xml_of
from headrace.parsers.detection import page_text
from headrace.parsers.html import read_html
from headrace.types import Block


def read_epub(path: Path) -> Iterator[Block]:
    """The book's blocks."""
    with zipfile.ZipFile(path) as archive:
        encryption = part_of(archive, "META-INF/encryption.xml", missing=b"")
        if b"EncryptedData" in encryption and b"xhtml" in encryption:
            raise DocumentError(PROTECTED)
        container = xml_of(part_of(archive, "META-INF/container.xml"))
        package_path = next(iter(container.xpath("//@full-path")), "")
        package = xml_of(part_of(archive, package_path))
        items = {item.get("id"): item.get("href", "") for item in package.iter("{*}item")}
        chapters = [items.get(ref.get("idref"), "") for ref in package.iter("{*}itemref")]
        places = [normpath(join(dirname(package_path), unquote(chapter))) for chapter in chapters if chapter]
        # A chapter that is named more than once is read once.
        for place in dict.fromkeys(places):
            yield from read_html(page_text(part_of(archive, place, missing=b"")))
