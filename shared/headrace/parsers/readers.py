"""Any file to blocks: what kind of file it is decides who reads it. Imported only in the parser's process.

The kind is told by the bytes; the name helps where bytes say no more than that they are text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.errors import DocumentError
from headrace.parsers.detection import language_of, text_encoding
from headrace.parsers.kinds import Kind, kind_of
from headrace.types import Block, ParsedFile

# About 60,000 chunks: beyond that a file is a library.
MAX_CHARACTERS = 50_000_000
NO_TEXT = "No text was found in the file. If it has text in pictures, save that as text and upload it."
OLD_OFFICE = (
    "Files of old Word and PowerPoint (.doc, .ppt) are not supported. Save it as .docx or .pptx and upload that."
)


@dataclass(frozen=True, slots=True)
class Source:
    """A file to be read. `languages` are those that OCR looks for (`eng+deu`); empty without OCR."""

    path: Path
    name: str
    content_type: str = ""
    languages: str = ""

    def text(self) -> str:
        """All of a text file."""
        return self.path.read_text(encoding=text_encoding(self.path), errors="replace")


Reader = Callable[[Source], Iterable[Block]]


def read_file(source: Source) -> ParsedFile:
    """The file's blocks in reading order, at least one. Raises DocumentError with the reason a person can act on.

    What a library raises besides is the worker's to explain: memory and depth among it.
    """
    kind = kind_of(source.path, source.name, source.content_type)
    blocks: list[Block] = []
    left = MAX_CHARACTERS
    for block in _READERS[kind](source):
        left -= len(block.text)
        if left < 0:
            raise DocumentError(f"The file has more than {MAX_CHARACTERS:,} characters of text. Split it.")
        if block.text.strip():
            blocks.append(block)
    if not blocks:
        raise DocumentError(NO_TEXT)
    return ParsedFile(blocks, language_of(blocks))


def _pdf(source: Source) -> Iterable[Block]:
    from headrace.parsers.pdf import read_pdf

    return read_pdf(source.path, languages=source.languages)


def _picture(source: Source) -> Iterable[Block]:
    from headrace.parsers.ocr import read_picture

    return read_picture(source.path, languages=source.languages)


def _plain(source: Source) -> Iterable[Block]:
    from headrace.parsers.plain import read_text

    return read_text(source.text())


def _json(source: Source) -> Iterable[Block]:
    from headrace.parsers.plain import read_json

    return read_json(source.path.read_bytes())


def _ndjson(source: Source) -> Iterable[Block]:
    from headrace.parsers.plain import read_ndjson

    return read_ndjson(source.path)


def _xml(source: Source) -> Iterable[Block]:
    from headrace.parsers.markup import read_xml

    return read_xml(source.path)


def _csv(source: Source) -> Iterable[Block]:
    from headrace.parsers.tables import read_csv

    return read_csv(source.path, encoding=text_encoding(source.path))


def _xlsx(source: Source) -> Iterable[Block]:
    from headrace.parsers.tables import read_xlsx

    return read_xlsx(source.path)


def _xls(source: Source) -> Iterable[Block]:
    from headrace.parsers.tables import read_xls

    return read_xls(source.path)


def _mail(source: Source) -> Iterable[Block]:
    from headrace.parsers.mail import read_eml

    return read_eml(source.path)


def _outlook(source: Source) -> Iterable[Block]:
    from headrace.parsers.mail import read_msg

    return read_msg(source.path)


def _office(source: Source) -> Iterable[Block]:
    from headrace.parsers.unstructured import read_office

    return read_office(source.path, name=source.name)


def _html(source: Source) -> Iterable[Block]:
    return _html_blocks(source.text())


def _html_blocks(html: str) -> Iterable[Block]:
    """A page, or what was made into one, so that its headings and tables are read like any page's."""
    from headrace.parsers.unstructured import read_html

    return read_html(html)


def _markdown(source: Source) -> Iterable[Block]:
    from headrace.parsers.unstructured import read_markdown

    return read_markdown(source.text())


def _odt(source: Source) -> Iterable[Block]:
    from headrace.parsers.markup import odt_to_html

    return _html_blocks(odt_to_html(source.path))


def _epub(source: Source) -> Iterable[Block]:
    from headrace.parsers.markup import epub_to_html

    return _html_blocks(epub_to_html(source.path))


def _rst(source: Source) -> Iterable[Block]:
    from headrace.parsers.markup import rst_to_html

    return _html_blocks(rst_to_html(source.text()))


def _org(source: Source) -> Iterable[Block]:
    from headrace.parsers.markup import org_to_html

    return _html_blocks(org_to_html(source.text()))


def _rtf(source: Source) -> Iterable[Block]:
    from headrace.parsers.markup import rtf_to_text
    from headrace.parsers.plain import read_text

    return read_text(rtf_to_text(source.path.read_bytes()))


def _refused(reason: str) -> Reader:
    def refuse(_source: Source) -> Sequence[Block]:
        raise DocumentError(reason)

    return refuse


_READERS: Mapping[Kind, Reader] = {
    Kind.PDF: _pdf,
    Kind.PICTURE: _picture,
    Kind.TEXT: _plain,
    Kind.MARKDOWN: _markdown,
    Kind.HTML: _html,
    Kind.JSON: _json,
    Kind.NDJSON: _ndjson,
    Kind.XML: _xml,
    Kind.CSV: _csv,
    Kind.XLSX: _xlsx,
    Kind.XLS: _xls,
    Kind.EML: _mail,
    Kind.MSG: _outlook,
    Kind.DOCX: _office,
    Kind.PPTX: _office,
    Kind.ODT: _odt,
    Kind.EPUB: _epub,
    Kind.RST: _rst,
    Kind.ORG: _org,
    Kind.RTF: _rtf,
    Kind.OLD_OFFICE: _refused(OLD_OFFICE),
}
