"""The table of docs/formats.md: what becomes of a file of each kind, found out by ingesting one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from functions.ingest.dependencies import IngestDependencies
from functions.ingest.pipeline import synchronise
from headrace.types import DocumentKey, DocumentState, ObjectVersion
from tests.support import files, probes
from tests.support.ingest import FolderBucket

PAGE = Path("docs/formats.md")
BEGIN, END = "<!-- made by tests/functions/test_formats.py -->\n", "<!-- end -->\n"
TEXT = "The shaft seal of the feed pump is replaced every four thousand operating hours."
KEPT = {
    "txt": "paragraphs, list items",
    "md": "headings, tables, list items, footnotes, front matter",
    "html": "headings, tables, list items, details, forms, alt texts; no scripts, nothing hidden",
    "xml": "element names as sections; records as `name: value`",
    "json": "keys as sections; a record a block, as `path.to.it: value`, cited as `employees[3]`",
    "ndjson": "a record a line",
    "csv": "rows as `Header: value`, and as HTML; titles above a table; row numbers",
    "tsv": "as csv",
    "xlsx": "as csv, values as they are shown; sheets as sections and pages; notes; nothing hidden",
    "xls": "as xlsx",
    "docx": "headings, tables, lists, text boxes, notes, comments, charts; header and footer once; no deleted or hidden text",
    "pptx": "slide numbers as pages, titles as sections; tables, speaker notes, charts, diagrams",
    "odt": "headings, tables, lists, notes, text boxes; header and footer once",
    "rtf": "paragraphs",
    "epub": "chapters' headings, tables",
    "rst": "headings, tables, list items",
    "org": "headings, tables, list items, planning, properties, code",
    "eml": "subject, sender, date; every text; invitations; what is attached, below its name",
    "msg": "as eml",
    "pdf": "page numbers; the outline as sections; columns, tables, filled forms, notes; OCR of pictures on pages with little text",
    "scan.pdf": "page numbers; text by OCR",
    "png": "text by OCR",
    "jpg": "text by OCR",
    "tiff": "text by OCR, page by page",
}


class GoneBucket(FolderBucket):
    """A bucket whose objects vanish between the event and the read."""

    async def fetch(self, key: str, path: Path, *, max_bytes: int) -> ObjectVersion | None:
        self.files.pop(key, None)
        return await super().fetch(key, path, max_bytes=max_bytes)


async def tables(parts: IngestDependencies, bucket: FolderBucket, tenant: str) -> str:
    """Both tables, in Markdown."""
    lines = ["", "| file | what is kept | state |", "| --- | --- | --- |"]
    for name, content in files.of_every_format(TEXT).items():
        state = await outcome(f"documents/{tenant}/{name}", content, parts, bucket)
        kind = name if name.startswith("scan") else name.partition(".")[2]
        lines.append(f"| {kind} | {KEPT[kind]} | {state} |")
    lines += ["", await asyncio.to_thread(probes.matrix)]
    lines += ["", "| file | what is wrong with it | state |", "| --- | --- | --- |"]
    for name, (wrong, make) in files.hostile().items():
        state = await outcome(f"documents/{tenant}/{name}", await asyncio.to_thread(make), parts, bucket)
        lines.append(f"| {name} | {wrong} | {state} |")
    lines += [await _row(*case, tenant, parts, bucket) for case in _in_the_bucket(tenant)]
    return "\n".join([*lines, "", ""])


async def outcome(key: str, content: bytes, parts: IngestDependencies, bucket: FolderBucket) -> str:
    """The document's state when ingest has done with it, and the reason or how it is searched for."""
    bucket.put(key, content)
    await synchronise(DocumentKey(key), parts)
    document = await parts.registry.get(DocumentKey(key))
    if document is None:
        return "no document"
    if document.state is not DocumentState.READY:
        return f"`{document.state}`: {document.reason}"
    assert document.chunks == await parts.store.count(document.tenant, document_key=key) > 0
    return f"`{document.state}`, {document.chunks} chunk{'s' if document.chunks > 1 else ''}"


Change = Callable[[IngestDependencies], IngestDependencies]


def _in_the_bucket(tenant: str) -> list[tuple[str, str, str, Change]]:
    """What is wrong with the object, not with what is in it."""
    names = "../../etc/passwd\u202e\u0000 '\"<b>🙂é%2F{x}.txt"
    same: Change = lambda parts: parts  # noqa: E731 - a change that changes nothing
    return [
        ("large.txt", "more bytes than `MAX_DOCUMENT_BYTES`, be it 5 GB", "large.txt",
         lambda parts: replace(parts, max_document_bytes=10)),
        ("gone.txt", "deleted between the event and the read", "gone.txt", lambda parts: replace(parts, bucket=GoneBucket())),
        ("`../` and every Unicode nastiness", "a name that means to get out of its tenant", names, same),
    ]  # fmt: skip


async def _row(
    shown: str, wrong: str, name: str, change: Change, tenant: str, parts: IngestDependencies, bucket: FolderBucket
) -> str:
    changed = change(parts)
    held = changed.bucket if isinstance(changed.bucket, FolderBucket) else bucket
    state = await outcome(f"documents/{tenant}/{name}", TEXT.encode(), changed, held)
    return f"| {shown} | {wrong} | {state} |"
