"""Formats that are markup underneath, made into HTML or text: odt, epub, rst, org, rtf; and XML. Runs in the parser's process.

Small libraries in place of pandoc, whose 155 MB Lambda's limit does not hold.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any
from urllib.parse import unquote

from lxml import etree
from lxml import html as lxml_html

from headrace.errors import DocumentError
from headrace.types import Block

MAX_SECTION_CHARACTERS = 900
MAX_DEPTH = 100
PROTECTED = "The file is protected against reading by others. Upload an unprotected copy."
TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
SKIPPED = frozenset({f"{TEXT}tracked-changes", f"{TEXT}sequence-decls", f"{TEXT}table-of-content"})


def _parser() -> Any:
    # No entity that is declared in the file is expanded, and nothing is fetched.
    return etree.XMLParser(
        resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False, remove_comments=True
    )


def read_xml(path: Path) -> Iterator[Block]:
    """A block for each element that holds text of its own, or for a record of small ones; sections are the elements' names."""
    try:
        root = etree.parse(path, _parser()).getroot()
    except (etree.XMLSyntaxError, OSError) as error:
        raise DocumentError(
            f"The file is not valid XML: {str(error).partition(', line')[0].rstrip('.')}. Correct it and upload it again."
        ) from error
    yield from _xml_blocks(root, ())


def _xml_blocks(element: Any, path: tuple[str, ...]) -> Iterator[Block]:
    if len(path) > MAX_DEPTH:
        raise DocumentError(f"The XML is nested deeper than {MAX_DEPTH} levels. Flatten it.")
    children = [child for child in element if isinstance(child.tag, str)]
    if not children or _is_mixed(element):
        text = "; ".join(filter(None, (*_attributes(element), _prose(element))))
        yield from [Block(text, None, path)] if text else []
        return
    record = "; ".join((*_attributes(element), *_leaves(element)))
    if path and len(record) <= MAX_SECTION_CHARACTERS:
        yield from [Block(record, None, path)] if record else []
        return
    if own := "; ".join(_attributes(element)):
        yield Block(own, None, path)
    for child in children:
        yield from _xml_blocks(child, (*path, _name(child)))


def _attributes(element: Any, prefix: str = "") -> list[str]:
    return [f"{prefix}{etree.QName(name).localname}: {value}" for name, value in element.items() if value.strip()]


def _prose(element: Any) -> str:
    return " ".join(" ".join(element.itertext()).split())


def _is_mixed(element: Any) -> bool:
    """Whether text stands beside its elements: then it is prose, and read as a whole."""
    return bool((element.text or "").strip()) or any((child.tail or "").strip() for child in element)


def _leaves(element: Any) -> Iterator[str]:
    """Each element that has text, prose as a whole, as `name: text`, and each attribute as `name.attribute: value`."""
    for child in element:
        if not isinstance(child.tag, str):
            continue
        yield from _attributes(child, f"{_name(child)}.")
        if len(child) and not _is_mixed(child):
            yield from _leaves(child)
        elif text := _prose(child):
            yield f"{_name(child)}: {text}"


def _name(element: Any) -> str:
    return str(etree.QName(element).localname)


def odt_to_html(path: Path) -> str:
    """An OpenDocument text's headings, paragraphs, list items and tables."""
    with zipfile.ZipFile(path) as archive:
        if b"encryption-data" in _entry(archive, "META-INF/manifest.xml", missing=b""):
            raise DocumentError(PROTECTED)
        root = _xml(_entry(archive, "content.xml"))
    return "".join(_odt_parts(root, 0))


def _odt_parts(element: Any, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise DocumentError("The file is nested too deeply to be read. Flatten it.")
    for child in element:
        if child.tag == f"{TEXT}h":
            level = min(int(child.get(f"{TEXT}outline-level", "1") or 1), 6)
            yield f"<h{level}>{_odt_text(child)}</h{level}>"
        elif child.tag == f"{TEXT}p":
            yield f"<p>{_odt_text(child)}</p>"
        elif child.tag == f"{TABLE}table":
            rows = (
                [_odt_text(cell) for cell in row.iter(f"{TABLE}table-cell")] for row in child.iter(f"{TABLE}table-row")
            )
            yield f"<table>{''.join(_html_row(row) for row in rows)}</table>"
        elif child.tag == f"{TEXT}list-item":
            yield f"<li>{_odt_text(child)}</li>"
        elif child.tag not in SKIPPED:
            yield from _odt_parts(child, depth + 1)


def _odt_text(element: Any) -> str:
    pieces: list[str] = []
    for part in element.iter():
        # Tabs, line breaks and runs of spaces are elements there.
        pieces += [" "] if part.tag in {f"{TEXT}tab", f"{TEXT}line-break", f"{TEXT}s", f"{TEXT}p"} else []
        pieces += [part.text or ""]
        pieces += [part.tail or ""] if part is not element else []
    return escape(" ".join("".join(pieces).split()))


def _html_row(cells: list[str]) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def epub_to_html(path: Path) -> str:
    """A book's chapters in reading order."""
    with zipfile.ZipFile(path) as archive:
        if b"EncryptedData" in _entry(archive, "META-INF/encryption.xml", missing=b"") and b"xhtml" in _entry(
            archive, "META-INF/encryption.xml", missing=b""
        ):
            raise DocumentError(PROTECTED)
        container = _xml(_entry(archive, "META-INF/container.xml"))
        package_path = next(iter(container.xpath("//@full-path")), "")
        package = _xml(_entry(archive, package_path))
        items = {item.get("id"): item.get("href", "") for item in package.iter("{*}item")}
        chapters = [items.get(ref.get("idref"), "") for ref in package.iter("{*}itemref")]
        places = [normpath(join(dirname(package_path), unquote(chapter))) for chapter in chapters if chapter]
        return "\n".join(_body(_entry(archive, place, missing=b"")) for place in places)


def _body(content: bytes) -> str:
    if not content.strip():
        return ""
    page = lxml_html.document_fromstring(content, parser=lxml_html.HTMLParser(encoding="utf-8"))
    bodies = page.xpath("//body") or [page]
    return str(lxml_html.tostring(bodies[0], encoding="unicode"))


def rst_to_html(text: str) -> str:
    """ReStructuredText through docutils, which reads no other file and runs nothing."""
    from docutils.core import publish_parts

    _keep_unknown_directives()
    settings = {
        "line_length_limit": 10_000_000, "file_insertion_enabled": False, "raw_enabled": False, "_disable_config": True, "report_level": 5,
        "halt_level": 5, "doctitle_xform": False, "initial_header_level": 1, "syntax_highlight": "none",
    }  # fmt: skip
    return str(publish_parts(text, writer="html5", settings_overrides=settings)["body"])


def _keep_unknown_directives() -> None:
    """Sphinx has directives that docutils does not know: what stands in them is read, instead of being dropped in silence."""
    from docutils import nodes
    from docutils.parsers.rst import Directive, directives

    class Kept(Directive):  # type: ignore[misc]
        has_content = True
        optional_arguments = 1
        final_argument_whitespace = True

        def run(self) -> list[Any]:
            container = nodes.container()
            container += [nodes.paragraph("", argument) for argument in self.arguments]
            self.state.nested_parse(self.content, self.content_offset, container)
            return [container]

    known = directives.directive

    def find(name: str, *rest: Any) -> Any:
        found, messages = known(name, *rest)
        return (found or Kept, messages if found else [])

    if known.__module__ == directives.__name__:
        directives.directive = find


def org_to_html(text: str) -> str:
    """Org mode's headings, paragraphs, list items and tables."""
    import orgparse

    return "\n".join(_org_node(node) for node in orgparse.loads(text))


def _org_node(node: Any) -> str:
    level = min(max(node.level, 1), 6)
    heading = f"<h{level}>{escape(node.heading)}</h{level}>" if node.level else ""
    lines = [line for line in node.body.splitlines() if not re.match(r"\s*(#\+|:\w+:|# )", line)]
    parts = [heading]
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        rows = [line.strip().strip("|").split("|") for line in paragraph.splitlines() if re.match(r"\s*\|[^-]", line)]
        if rows:
            parts.append(f"<table>{''.join(_html_row([escape(c.strip()) for c in row]) for row in rows)}</table>")
            continue
        items = re.split(r"^\s*(?:[-+]|\d+[.)])\s+", paragraph, flags=re.MULTILINE)
        parts += [f"<p>{escape(items[0])}</p>" if items[0].strip() else ""]
        parts += [f"<li>{escape(item)}</li>" for item in items[1:]]
    return "".join(parts)


def rtf_to_text(content: bytes) -> str:
    """The text of a Rich Text file; its formatting is lost."""
    from striprtf.striprtf import rtf_to_text as to_text

    text: str = to_text(content.decode("latin-1"), encoding="cp1252", errors="replace")  # type: ignore[no-untyped-call]
    # A paragraph's end is one line's end there.
    return re.sub(r"\n+", "\n\n", text)


def _entry(archive: zipfile.ZipFile, name: str, *, missing: bytes | None = None) -> bytes:
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


def _xml(content: bytes) -> Any:
    try:
        return etree.fromstring(content, _parser())
    except etree.XMLSyntaxError as error:
        raise DocumentError(
            "The file is damaged: a part of it can't be read. Save it anew and upload it again."
        ) from error
