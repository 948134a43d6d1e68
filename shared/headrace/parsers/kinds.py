"""What kind of file it is, told by its bytes first. Files that nobody reads are refused here, with a reason."""

from __future__ import annotations

import re
import zipfile
from enum import StrEnum
from pathlib import Path

from headrace.errors import DocumentError
from headrace.parsers.detection import wide_encoding

HEAD_BYTES = 4096
_MAIL_HEADER = re.compile(rb"(?:\xef\xbb\xbf)?\s*[\w-]+:[ \t]")
MAX_UNZIPPED_BYTES = 500 * 1024 * 1024
MAX_ZIP_ENTRIES = 20_000
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


class Kind(StrEnum):
    """The kinds of files that can be told apart."""

    PDF = "pdf"
    PICTURE = "picture"
    TEXT = "text"
    MARKDOWN = "markdown"
    HTML = "html"
    JSON = "json"
    NDJSON = "ndjson"
    XML = "xml"
    SVG = "svg"
    CSV = "csv"
    XLSX = "xlsx"
    XLS = "xls"
    EML = "eml"
    MSG = "msg"
    DOCX = "docx"
    PPTX = "pptx"
    ODT = "odt"
    EPUB = "epub"
    RST = "rst"
    ORG = "org"
    RTF = "rtf"
    OLD_OFFICE = "old office"


PICTURES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"II*\x00", b"MM\x00*")
PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".heic"})
ZIPPED = {"word/document.xml": Kind.DOCX, "ppt/presentation.xml": Kind.PPTX, "xl/workbook.xml": Kind.XLSX}
DOCUMENT_SUFFIXES = frozenset({".docx", ".pptx", ".xlsx", ".odt", ".epub", ".xls", ".msg", ".doc", ".ppt", ".pdf"})
TEXT_SUFFIXES = {
    ".md": Kind.MARKDOWN, ".markdown": Kind.MARKDOWN, ".html": Kind.HTML, ".htm": Kind.HTML, ".xhtml": Kind.HTML,
    ".json": Kind.JSON, ".ndjson": Kind.NDJSON, ".jsonl": Kind.NDJSON, ".xml": Kind.XML, ".svg": Kind.SVG, ".csv": Kind.CSV,
    ".tsv": Kind.CSV, ".tab": Kind.CSV, ".eml": Kind.EML, ".rst": Kind.RST, ".org": Kind.ORG,
}  # fmt: skip
CONTENT_TYPES = {
    "text/markdown": Kind.MARKDOWN, "text/html": Kind.HTML, "application/json": Kind.JSON, "text/xml": Kind.XML,
    "application/xml": Kind.XML, "image/svg+xml": Kind.SVG, "application/x-ndjson": Kind.NDJSON, "text/csv": Kind.CSV,
    "text/tab-separated-values": Kind.CSV, "message/rfc822": Kind.EML, "text/x-rst": Kind.RST, "text/org": Kind.ORG,
}  # fmt: skip


def kind_of(path: Path, name: str, content_type: str) -> Kind:
    """The file's kind. Raises DocumentError for a file that is empty, damaged, dangerous, protected or of no use."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    suffix = Path(name).suffix.lower()
    if not head:
        raise DocumentError("The file is empty. Upload it again with its content.")
    if head.startswith(b"%PDF") or (suffix == ".pdf" and b"%PDF" in head[:1024]):
        return Kind.PDF
    if head.startswith(b"PK\x03\x04"):
        return _zipped(path)
    if head.startswith(OLE):
        return _compound(path)
    if head.startswith(b"{\\rtf"):
        return Kind.RTF
    if (
        head.startswith(PICTURES)
        or (head[:2] == b"BM" and head[6:10] == bytes(4))
        or head[8:12] == b"WEBP"
        or head[4:12] == b"ftypheic"
        or suffix in PICTURE_SUFFIXES
    ):
        return Kind.PICTURE
    if suffix in DOCUMENT_SUFFIXES:
        raise DocumentError(f"The file can't be opened as {suffix}: it is damaged, or something else. Save it anew.")
    if _is_binary(head) and not (suffix == ".eml" and _MAIL_HEADER.match(head)):
        raise DocumentError(
            f"Files of the type {suffix or 'of this one'} can't be read. docs/formats.md lists those that can."
        )
    return _text_kind(head, suffix, content_type)


def _text_kind(head: bytes, suffix: str, content_type: str) -> Kind:
    if suffix in TEXT_SUFFIXES:
        return TEXT_SUFFIXES[suffix]
    start = head.lstrip(b"\xef\xbb\xbf \r\n\t")[:100].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return Kind.HTML
    if start.startswith(b"<svg"):
        return Kind.SVG
    if start.startswith(b"<?xml"):
        return Kind.XML
    return CONTENT_TYPES.get(content_type.partition(";")[0].strip().lower(), Kind.TEXT) if not suffix else Kind.TEXT


def _zipped(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _refuse_bomb(entries)
            names = {entry.filename for entry in entries}
            mimetype = archive.read("mimetype")[:100].decode("ascii", "replace") if "mimetype" in names else ""
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise DocumentError(
            "The file is damaged: its archive can't be opened. Save it anew and upload it again."
        ) from error
    if mimetype.startswith("application/vnd.oasis.opendocument.text"):
        return Kind.ODT
    if mimetype.startswith("application/epub+zip"):
        return Kind.EPUB
    for name, kind in ZIPPED.items():
        if name in names:
            return kind
    raise DocumentError("The file is an archive of no kind that can be read. Upload the files in it one by one.")


def _refuse_bomb(entries: list[zipfile.ZipInfo]) -> None:
    total = sum(entry.file_size for entry in entries)
    if total > MAX_UNZIPPED_BYTES:
        raise DocumentError(f"The file unpacks to {total:,} bytes, more than the limit of {MAX_UNZIPPED_BYTES:,}.")
    if len(entries) > MAX_ZIP_ENTRIES:
        raise DocumentError(f"The file packs {len(entries):,} files, more than the limit of {MAX_ZIP_ENTRIES:,}.")


def _compound(path: Path) -> Kind:
    """Microsoft's old container: workbooks, mails, old documents, and protected new ones."""
    import olefile

    try:
        with olefile.OleFileIO(path) as container:
            names = {"/".join(entry).lower() for entry in container.listdir()}
    except (OSError, ValueError, IndexError, TypeError) as error:
        raise DocumentError("The file is damaged: it can't be opened. Save it anew and upload it again.") from error
    if "encryptedpackage" in names:
        raise DocumentError("The file is protected by a password. Upload an unprotected copy.")
    if names & {"workbook", "book"}:
        return Kind.XLS
    if "__properties_version1.0" in names:
        return Kind.MSG
    return Kind.OLD_OFFICE


def _is_binary(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or wide_encoding(head):
        return False
    return b"\x00" in head or sum(byte < 9 or 13 < byte < 27 for byte in head) > len(head) / 20
