"""Any file to blocks, through unstructured. Imported only in the parser's process.

Offline by construction: no telemetry, no model downloads, no language detection.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from email import policy
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any

from headrace.errors import DocumentError
from headrace.parsers import language
from headrace.parsers.tables import label_rows, read_csv, read_xlsx
from headrace.types import Block

os.environ.update(DO_NOT_TRACK="1", SCARF_NO_ANALYTICS="true", UNSTRUCTURED_DISABLE_NOTICE="1", HF_HUB_OFFLINE="1")
language.install()

MAX_UNZIPPED_BYTES = 500 * 1024 * 1024
MAX_JSON_DEPTH = 100
# What text that is not UTF-8 is likely to be; left to itself the detector finds rarer ones too easily.
ENCODINGS = ["cp1252", "utf_16", "cp1251", "cp1253", "shift_jis", "gb18030", "big5", "euc_kr"]
NO_TEXT = "No text was found in the file. If it is a picture or a scan, run OCR on it and upload the result."
NEEDS_OCR = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".heic", ".gif", ".webp"})


def read_file(path: Path, *, name: str, content_type: str) -> list[Block]:
    """The file's blocks in reading order, at least one. Raises DocumentError with the reason a person can act on.

    What a library raises besides is the worker's to explain: memory and depth among it.
    """
    suffix = Path(name).suffix.lower()
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        raise DocumentError("The file is empty. Upload it again with its content.")
    if suffix in NEEDS_OCR:
        raise DocumentError("Pictures can't be read: this deployment has no OCR. Upload a file with a text layer.")
    if head.startswith(b"%PDF") or suffix == ".pdf":
        from headrace.parsers.pdf import read_pdf

        return read_pdf(path)
    if head.startswith(b"PK"):
        _refuse_bomb(path)
    if head.startswith(b"\xd0\xcf\x11\xe0") and suffix in {".docx", ".pptx", ".xlsx"}:
        raise DocumentError(
            "The file is protected by a password (or is an old Office file renamed). Upload an unprotected copy."
        )
    match suffix:
        case ".json":
            blocks = _json_blocks(path)
        case ".csv" | ".tsv":
            blocks = read_csv(path, encoding=_text_encoding(path) or "utf-8")
        case ".xlsx" if head.startswith(b"PK"):
            blocks = read_xlsx(path)
        case _:
            blocks = list(_blocks(_partition(path, name, content_type)))
    if not blocks:
        raise DocumentError(NO_TEXT)
    return [*_email_header(path), *blocks] if suffix == ".eml" else blocks


def _partition(path: Path, name: str, content_type: str) -> list[Any]:
    from unstructured.errors import UnprocessableEntityError
    from unstructured.partition.auto import partition
    from unstructured.partition.common import UnsupportedFileFormatError

    known = content_type if content_type not in {"", "application/octet-stream", "binary/octet-stream"} else None
    try:
        with path.open("rb") as file:
            return partition(
                file=file,
                metadata_filename=name,
                content_type=known,
                languages=["eng"],
                strategy="fast",
                encoding=_text_encoding(path),
            )
    except (UnsupportedFileFormatError, UnprocessableEntityError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DocumentError(
            f"The file can't be read as {Path(name).suffix or 'a document'}: {_one_line(error)}"
        ) from error
    except ImportError as error:
        raise DocumentError(
            f"Files of the type {Path(name).suffix or name} are not supported in this deployment."
        ) from error


def _text_encoding(path: Path) -> str | None:
    """UTF-8 where the bytes are; else what they look like. None for binary files, which carry their own."""
    with path.open("rb") as file:
        sample = file.read(1 << 20)
    if b"\x00" in sample[:1024] and not sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        return None
    from charset_normalizer import from_bytes

    try:
        sample[: sample.rfind(b"\n") + 1 or None].decode("utf-8")
    except UnicodeDecodeError:
        best = from_bytes(sample, cp_isolation=ENCODINGS).best()
        return best.encoding if best else "cp1252"
    return "utf-8"


def _blocks(elements: list[Any]) -> Iterator[Block]:
    """Elements to blocks: titles become section paths, tables become `Header: value` rows."""
    from unstructured.documents.elements import EmailAddress, Footer, Header, PageBreak, Table, Title

    path: list[tuple[int, str]] = []
    for element in elements:
        text = " ".join((element.text or "").split())
        page = element.metadata.page_number
        if isinstance(element, PageBreak | Header | Footer) or not text:
            continue
        if isinstance(element, Title):
            depth = element.metadata.category_depth or 0
            path = [*((d, t) for d, t in path if d < depth), (depth, text[:120])]
            continue_with = [text]
        elif isinstance(element, Table) and element.metadata.text_as_html:
            continue_with = list(_table_rows(element.metadata.text_as_html)) or [text]
        else:
            continue_with = [text] if not isinstance(element, EmailAddress) else [f"E-mail: {text}"]
        section = tuple(title for _, title in path)
        yield from (Block(piece, page, section) for piece in continue_with)


def _table_rows(html: str) -> Iterator[str]:
    from lxml import html as lxml_html

    rows = lxml_html.fromstring(html).xpath(".//tr")
    return label_rows([cell.text_content() for cell in row.xpath("./td|./th")] for row in rows)


def _json_blocks(path: Path) -> list[Block]:
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DocumentError(
            f"The file is not valid JSON: {_one_line(error)}. Correct it and upload it again."
        ) from error
    groups: list[tuple[tuple[str, ...], Any]]
    if isinstance(value, list):
        groups = [((), item) for item in value]
    elif isinstance(value, dict):
        groups = [
            ((str(key),), item) if isinstance(item, dict | list) else ((), {key: item}) for key, item in value.items()
        ]
    else:
        groups = [((), value)]
    texts = ((section, "; ".join(_leaves(item, "", 0))) for section, item in groups)
    return [Block(text, None, section) for section, text in texts if text]


def _email_header(path: Path) -> list[Block]:
    """Who wrote what to whom and when: unstructured gives a mail's body alone."""
    with path.open("rb") as file:
        message = BytesHeaderParser(policy=policy.default).parse(file)
    lines = [f"{name}: {message[name]}" for name in ("Subject", "From", "To", "Date") if message[name]]
    return [Block("; ".join(lines))] if lines else []


def _leaves(value: object, name: str, depth: int) -> Iterator[str]:
    if depth > MAX_JSON_DEPTH:
        raise DocumentError(f"The JSON is nested deeper than {MAX_JSON_DEPTH} levels. Flatten it.")
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}" if name else str(key), depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, name, depth + 1)
    elif value is not None:
        yield f"{name}: {value}" if name else str(value)


def _refuse_bomb(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile as error:
        raise DocumentError(
            "The file is damaged: its archive can't be opened. Save it anew and upload it again."
        ) from error
    if total > MAX_UNZIPPED_BYTES:
        raise DocumentError(f"The file unpacks to {total:,} bytes, more than the limit of {MAX_UNZIPPED_BYTES:,}.")


def _one_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
