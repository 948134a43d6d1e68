"""docs/formats.md says what becomes of every kind of file, and this test makes it say the truth.

HEADRACE_WRITE_DOCS=1 writes the tables anew.
"""

from __future__ import annotations

import os
from dataclasses import replace

from functions.ingest.dependencies import IngestDependencies
from headrace.parsers.process import open_process_parser
from tests.support import formats
from tests.support.embedders import HashEmbedder
from tests.support.ingest import FolderBucket


async def test_the_table_of_formats_is_what_ingest_does(
    bucket: FolderBucket, ingest_deps: IngestDependencies, tenant: str
) -> None:
    opening = open_process_parser(timeout_seconds=60, cpu_seconds=60, memory_bytes=2 * 1024**3, ocr_languages="eng")
    async with opening as parser:
        deps = replace(ingest_deps, parser=parser, max_document_bytes=10**9, embedder=HashEmbedder())
        made = await formats.tables(deps, bucket, tenant)
    await check(made, deps, tenant)
    before, _, rest = formats.PAGE.read_text().partition(formats.BEGIN)
    written, _, after = rest.partition(formats.END)
    if os.environ.get("HEADRACE_WRITE_DOCS"):
        formats.PAGE.write_text(f"{before}{formats.BEGIN}{made}{formats.END}{after}")
        return
    assert written == made, (
        "HEADRACE_WRITE_DOCS=1 python -m pytest tests/functions/test_formats.py writes the page anew"
    )


async def check(made: str, deps: IngestDependencies, tenant: str) -> None:
    """What is readable is ready, and nothing leaks."""
    readable, _, hostile = made.partition("| file | what is wrong")
    assert readable.count("`ready`") == len(formats.KEPT)
    assert "Traceback" not in hostile
    chunks = [chunk async for chunk in deps.store.scan(tenant)]
    assert {chunk.tenant for chunk in chunks} == {tenant}
    everything = "\n".join(chunk.text for chunk in chunks)
    assert "root:" not in everything
    assert "stolen" not in everything
