"""Word documents as unstructured reads all of them: what its reader passes over is put where it looks.

unstructured (python-docx below it) reads the runs that stand directly in a paragraph or a cell. So insertions, content controls,
fields and formulas become plain runs; text boxes, notes, comments and charts become paragraphs and tables after the paragraph
that they belong to; what was deleted, moved away or hidden goes. Header and footer come once, at the end.

Reference: ECMA-376, part 1, 17.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from lxml import etree

from headrace.parsers.archives import local_name, part_of, xml_of
from headrace.parsers.charts import chart_rows, words_of_diagram
from headrace.parsers.relations import relations

MAIN = "word/document.xml"
W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
GONE = frozenset("del moveFrom delText delInstrText instrText proofErr".split())
UNWRAPPED = frozenset("ins moveTo smartTag fldSimple customXml dir bdo".split())
NOTES = {"footnoteReference": "footnotes", "endnoteReference": "endnotes", "commentReference": "comments"}
NOT_NOTES = frozenset({"separator", "continuationSeparator", "continuationNotice"})
OFF = frozenset({"0", "false", "off", "none"})


def mended(path: Path) -> BytesIO:
    """The document with all that it shows in plain paragraphs and tables. Raises DocumentError for one that is damaged."""
    target = BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w") as copy:
        main = _main_part(archive)
        root = xml_of(part_of(archive, main))
        _Mender(archive, main).mend(root)
        for entry in archive.infolist():
            content = etree.tostring(root) if entry.filename == main else part_of(archive, entry.filename)
            copy.writestr(entry, content, zipfile.ZIP_STORED)
    target.seek(0)
    return target


def _main_part(archive: zipfile.ZipFile) -> str:
    found = (part for kind, part, _ in relations(archive, "") if kind == "officeDocument")
    return next(found, MAIN)


class _Mender:
    def __init__(self, archive: zipfile.ZipFile, main: str) -> None:
        self._archive = archive
        self._parts = {key: (kind, part) for kind, part, key in relations(archive, main)}
        self._hidden = _hidden_styles(self._part("styles"))
        self._notes = {name: self._texts_of(self._part(kind)) for name, kind in NOTES.items()}

    def mend(self, root: Any) -> None:
        body = root.find(f"{{{W}}}body")
        if body is None:
            return
        self._tidy(body)
        for paragraph in list(body.iter(_w("p"))):
            self._lift(paragraph)
        last = body.find(_w("sectPr"))
        for text in self._margins():
            element = _paragraph(text)
            if last is not None:
                last.addprevious(element)
            else:
                body.append(element)

    def _part(self, kind: str) -> Any:
        name = next((part for found, part in self._parts.values() if found == kind), "")
        return xml_of(part_of(self._archive, name)) if name else None

    def _tidy(self, root: Any) -> None:
        """Take out what is not shown, and unwrap what is."""
        for element in list(root.iter(etree.Element)):
            if element.getparent() is None:
                continue
            name = local_name(element)
            if (
                (name == "tr" and element.find(f"{_w('trPr')}/{_w('del')}") is not None)
                or name in GONE
                or (name == "r" and self._is_hidden(element))
                or _is_contents(element)
            ):
                element.getparent().remove(element)
            elif name in UNWRAPPED and len(element):
                _unwrap(element, list(element))
            elif name == "sdt":
                content = element.find(_w("sdtContent"))
                _unwrap(element, [] if content is None else list(content))
            elif name == "AlternateContent":
                _unwrap(element, list(element[0]) if len(element) else [])
            elif name in {"oMath", "oMathPara"}:
                _unwrap(element, [_run("".join(element.itertext("{*}t")))])

    def _is_hidden(self, run: Any) -> bool:
        properties = run.find(_w("rPr"))
        if properties is None:
            return False
        vanish, style = properties.find(_w("vanish")), properties.find(_w("rStyle"))
        if vanish is not None:
            return vanish.get(_w("val"), "1") not in OFF
        return style is not None and style.get(_w("val")) in self._hidden

    def _lift(self, paragraph: Any) -> None:
        """Put what hangs on a paragraph after it, in its order."""
        after: list[Any] = []
        for element in list(paragraph.iter(etree.Element)):
            name = local_name(element)
            if name == "txbxContent":
                after += list(element)
                element.getparent().remove(element)
            elif (name in NOTES and (text := self._notes[name].get(element.get(_w("id"), "")))) or (
                name == "docPr" and (text := element.get("descr", "").strip())
            ):
                after.append(_paragraph(text))
            elif name in {"chart", "relIds"}:
                after += self._drawn(element)
        for element in reversed(after):
            paragraph.addnext(element)

    def _drawn(self, element: Any) -> Iterator[Any]:
        """A chart as a table, a diagram as its words."""
        _, part = self._parts.get(element.get(f"{R}id") or element.get(f"{R}dm") or "", ("", ""))
        if not part:
            return
        root = xml_of(part_of(self._archive, part))
        if local_name(element) == "chart":
            title, rows = chart_rows(root)
            if title:
                yield _paragraph(title)
            if rows:
                yield _table(rows)
        else:
            yield from map(_paragraph, words_of_diagram(root))

    def _texts_of(self, root: Any) -> Mapping[str, str]:
        """The notes of a part by their ids."""
        texts = {}
        for note in [] if root is None else root:
            if note.get(_w("type")) not in NOT_NOTES:
                self._tidy(note)
                text = _words(note)
                author = note.get(_w("author"))
                is_comment = local_name(note) == "comment"
                texts[note.get(_w("id"), "")] = (
                    f"Comment{f' by {author}' if author else ''}: {text}" if is_comment and text else text
                )
        return texts

    def _margins(self) -> Iterator[str]:
        """What stands in headers and footers, each once; a page's number alone says nothing."""
        seen = set()
        for kind, part in self._parts.values():
            if kind in {"header", "footer"}:
                root = xml_of(part_of(self._archive, part))
                self._tidy(root)
                for paragraph in root.iter(_w("p")):
                    text = _words(paragraph)
                    if text and not text.isdigit() and text not in seen:
                        seen.add(text)
                        yield text


def _hidden_styles(root: Any) -> frozenset[str]:
    """The character styles whose text is not shown."""
    styles = [] if root is None else root.iter(_w("style"))
    hidden = (style for style in styles if style.find(f"{_w('rPr')}/{_w('vanish')}") is not None)
    return frozenset(style.get(_w("styleId"), "") for style in hidden)


def _is_contents(element: Any) -> bool:
    """Whether it is a table of contents, whose words all stand elsewhere."""
    gallery = (
        element.find(f"{_w('sdtPr')}/{_w('docPartObj')}/{_w('docPartGallery')}")
        if local_name(element) == "sdt"
        else None
    )
    return gallery is not None and gallery.get(_w("val")) == "Table of Contents"


def _unwrap(element: Any, content: list[Any]) -> None:
    for part in content:
        element.addprevious(part)
    element.getparent().remove(element)


def _words(element: Any) -> str:
    """An element's text: tabs and breaks are elements there."""
    pieces = []
    for part in element.iter(etree.Element):
        name = local_name(part)
        pieces += [part.text or ""] if name == "t" else []
        pieces += [" "] if name in {"tab", "br", "cr", "p"} else []
        pieces += ["-"] if name == "noBreakHyphen" else []
    return " ".join("".join(pieces).split())


def _table(rows: list[list[str]]) -> Any:
    table = etree.Element(_w("tbl"))
    etree.SubElement(table, _w("tblPr"))
    grid = etree.SubElement(table, _w("tblGrid"))
    for _ in max(rows, key=len):
        etree.SubElement(grid, _w("gridCol"))
    for row in rows:
        line = etree.SubElement(table, _w("tr"))
        for text in row:
            etree.SubElement(line, _w("tc")).append(_paragraph(text))
    return table


def _paragraph(text: str) -> Any:
    paragraph = etree.Element(_w("p"))
    paragraph.append(_run(text))
    return paragraph


def _run(text: str) -> Any:
    run = etree.Element(_w("r"))
    etree.SubElement(run, _w("t")).text = text
    return run


def _w(name: str) -> str:
    return f"{{{W}}}{name}"
