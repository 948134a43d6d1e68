"""Any file to blocks: what kind of file it is decides who reads it. Imported only in the parser's process.

The kind is told by the bytes; the name helps where bytes say no more than that they are text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headrace.errors import DocumentError
from headrace.parsers.detection import declared_in, decoded, language_of
from headrace.parsers.kinds import Kind, kind_of
from headrace.parsers.ledger import missing_note
from headrace.types import Block, Note, ParsedFile

# About 60,000 chunks: beyond that a file is a library.
MAX_CHARACTERS = 50_000_000
MOST_MAILS = 3
MOST_ATTACHMENTS = 100
NO_TEXT = "No text was found in the file. If it has text in pictures, save that as text and upload it."
OLD_OFFICE = (
    "Files of old Word and PowerPoint (.doc, .ppt) are not supported. Save it as .docx or .pptx and upload that."
)


@dataclass(frozen=True, slots=True)
class Source:
    """A file to be read. `languages` are those that OCR looks for (`eng+deu`); empty without OCR.

    `depth` is how many mails it came within.
    """

    path: Path
    name: str
    content_type: str = ""
    languages: str = ""
    depth: int = 0


Reader = Callable[[Source], Iterable[Block | Note]]


def read_file(source: Source) -> ParsedFile:
    """The file's blocks in reading order, at least one. Raises DocumentError with the reason a person can act on.

    What a library raises besides is the worker's to explain: memory and depth among it.
    """
    blocks, notes = read_blocks(source)
    return ParsedFile(blocks, language_of(blocks), notes)


def read_blocks(source: Source) -> tuple[list[Block], tuple[str, ...]]:
    """The file's blocks, and what is to be said about them."""
    kind = kind_of(source.path, source.name, source.content_type)
    blocks: list[Block] = []
    notes: list[str] = []
    left = MAX_CHARACTERS
    for block in _READERS[kind](source):
        if isinstance(block, Note):
            notes.append(block.text)
            continue
        left -= _characters(block)
        if left < 0:
            raise DocumentError(f"The file has more than {MAX_CHARACTERS:,} characters of text and titles. Split it.")
        if block.text.strip():
            blocks.append(block)
    if not blocks:
        raise DocumentError(NO_TEXT)
    if missing := missing_note(kind, source.path, blocks):
        notes.append(missing.text)
    return blocks, tuple(dict.fromkeys(notes))


def _characters(block: Block) -> int:
    """All that the block carries: a few titles, or labels, can be the most of a file's text."""
    return len(block.text) + sum(map(len, block.section)) + sum(len(label) for label, _ in block.cells)


def _from_text(read: Callable[[str], Iterable[Block]], declared: Callable[[bytes], str] = lambda _: "") -> Reader:
    """A reader of files that are text, and that may say in which encoding; a note where some of it could not be told."""

    def reader(source: Source) -> Iterator[Block | Note]:
        content = source.path.read_bytes()
        text, replaced = decoded(content, declared=declared(content))
        if replaced:
            yield Note(
                f"{replaced:,} characters of the file are of no known encoding. Save it as UTF-8 to have them read."
            )
        yield from read(text)

    return reader


def _pdf(source: Source) -> Iterable[Block | Note]:
    from headrace.parsers.pdf import read_pdf

    return read_pdf(source.path, languages=source.languages)


def _picture(source: Source) -> Iterable[Block]:
    from headrace.parsers.ocr import read_picture

    return read_picture(source.path, languages=source.languages)


def _plain(text: str) -> Iterable[Block]:
    from headrace.parsers.plain import read_text

    return read_text(text)


def _html(text: str) -> Iterable[Block]:
    from headrace.parsers.html import read_html

    return read_html(text)


def _markdown(text: str) -> Iterable[Block]:
    from headrace.parsers.markdown import read_markdown

    return read_markdown(text)


def _rst(text: str) -> Iterable[Block]:
    from headrace.parsers.rst import read_rst

    return read_rst(text)


def _org(text: str) -> Iterable[Block]:
    from headrace.parsers.org import read_org

    return read_org(text)


def _csv(text: str) -> Iterable[Block]:
    from headrace.parsers.separated import read_csv

    return read_csv(text)


def _json(source: Source) -> Iterable[Block]:
    from headrace.parsers.records import read_json

    return read_json(source.path.read_bytes())


def _ndjson(source: Source) -> Iterable[Block]:
    from headrace.parsers.records import read_ndjson

    return read_ndjson(source.path)


def _xml(source: Source) -> Iterable[Block]:
    from headrace.parsers.xml import read_xml

    return read_xml(source.path)


def _svg(source: Source) -> Iterable[Block]:
    from headrace.parsers.xml import read_svg

    return read_svg(source.path)


def _xlsx(source: Source) -> Iterable[Block | Note]:
    from headrace.parsers.workbooks import read_xlsx

    return read_xlsx(source.path)


def _xls(source: Source) -> Iterable[Block | Note]:
    from headrace.parsers.old_workbooks import read_xls

    return read_xls(source.path)


def _mail(source: Source) -> Iterable[Block | Note]:
    from headrace.parsers.mail import read_eml

    return read_eml(source.path, _attached(source))


def _outlook(source: Source) -> Iterable[Block | Note]:
    from headrace.parsers.mail import read_msg

    return read_msg(source.path, _attached(source))


def _attached(mail: Source) -> Callable[[bytes, str, str], Iterable[Block | Note]]:
    """Reads what is attached to a mail as a file of its own, beside it."""
    count = 0

    def read(content: bytes, name: str, content_type: str) -> Iterable[Block | Note]:
        nonlocal count
        count += 1
        if mail.depth >= MOST_MAILS or count > MOST_ATTACHMENTS:
            raise DocumentError("It is one of too many, or within too many mails. Upload it by itself.")
        path = mail.path.parent / f"attached-{mail.depth}-{count}"
        path.write_bytes(content)
        try:
            # The type that a mail gives is no more sure than its name.
            source = replace(mail, path=path, name=name, content_type=content_type, depth=mail.depth + 1)
            blocks, notes = read_blocks(source)
            return [*blocks, *map(Note, notes)]
        finally:
            path.unlink()

    return read


def _docx(source: Source) -> Iterable[Block]:
    from headrace.parsers.unstructured import read_docx

    return read_docx(source.path)


def _pptx(source: Source) -> Iterable[Block]:
    from headrace.parsers.unstructured import read_pptx

    return read_pptx(source.path)


def _odt(source: Source) -> Iterable[Block]:
    from headrace.parsers.odt import read_odt

    return read_odt(source.path)


def _epub(source: Source) -> Iterable[Block]:
    from headrace.parsers.epub import read_epub

    return read_epub(source.path)


def _rtf(source: Source) -> Iterable[Block]:
    from headrace.parsers.rtf import read_rtf

    return read_rtf(source.path.read_bytes())


def _refused(reason: str) -> Reader:
    def refuse(_source: Source) -> Sequence[Block]:
        raise DocumentError(reason)

    return refuse


_READERS: Mapping[Kind, Reader] = {
    Kind.PDF: _pdf,
    Kind.PICTURE: _picture,
    Kind.TEXT: _from_text(_plain),
    Kind.MARKDOWN: _from_text(_markdown),
    Kind.HTML: _from_text(_html, declared_in),
    Kind.JSON: _json,
    Kind.NDJSON: _ndjson,
    Kind.XML: _xml,
    Kind.SVG: _svg,
    Kind.CSV: _from_text(_csv),
    Kind.XLSX: _xlsx,
    Kind.XLS: _xls,
    Kind.EML: _mail,
    Kind.MSG: _outlook,
    Kind.DOCX: _docx,
    Kind.PPTX: _pptx,
    Kind.ODT: _odt,
    Kind.EPUB: _epub,
    Kind.RST: _from_text(_rst),
    Kind.ORG: _from_text(_org),
    Kind.RTF: _rtf,
    Kind.OLD_OFFICE: _refused(OLD_OFFICE),
}
