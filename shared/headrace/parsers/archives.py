"""Parts of the archives that documents are, and XML that fetches nothing. Runs in the parser's process."""

from __future__ import annotations

import zipfile
from typing import Any

from lxml import etree

from headrace.errors import DocumentError

PROTECTED = "The file is protected against reading by others. Upload an unprotected copy."


def xml_parser() -> Any:
    """A parser that expands no entity which is declared in the file, and fetches nothing."""
    return etree.XMLParser(
        resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False, remove_comments=True, remove_pis=True
    )


def part_of(archive: zipfile.ZipFile, name: str, *, missing: bytes | None = None) -> bytes:
    """A part's bytes, or `missing`. Raises DocumentError where it is damaged, protected, or not there."""
    try:
        return archive.read(name)
    except KeyError as error:
        if missing is not None:
            return missing
        raise DocumentError(
            "The file is damaged: a part of it is missing. Save it anew and upload it again."
        ) from error
    except RuntimeError as error:
        raise DocumentError(PROTECTED) from error


def xml_of(content: bytes) -> Any:
    """The root of a part. Raises DocumentError where it is damaged."""
    try:
        return etree.fromstring(content, xml_parser())
    except etree.XMLSyntaxError as error:
        raise DocumentError(
            "The file is damaged: a part of it can't be read. Save it anew and upload it again."
        ) from error


def local_name(element: Any) -> str:
    """An element's name without its namespace; empty for what is no element."""
    return str(etree.QName(element).localname) if isinstance(element.tag, str) else ""


def text_of(element: Any) -> str:
    """The words in an element's texts (`t`, as Office's formats call them)."""
    return " ".join(" ".join(element.itertext("{*}t")).split())
