"""Rich Text to blocks; its formatting is lost. Runs in the parser's process."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headrace.parsers.plain import read_text
from headrace.types import Block

_CODE_PAGE = re.compile(rb"\\ansicpg(\d{3,5})")


def read_rtf(content: bytes) -> Iterator[Block]:
    """The file's paragraphs."""
    from striprtf.striprtf import rtf_to_text

    page = _CODE_PAGE.search(content[:2_000])
    encoding = f"cp{page[1].decode()}" if page else "cp1252"
    # A text that is hidden is text to the library.
    source = re.sub(r"\{\\v\b(?!0)[^{}]*\}", "", content.decode("latin-1"))
    text: str = rtf_to_text(source, encoding=encoding, errors="replace")  # type: ignore[no-untyped-call]
    # A paragraph's end is one line's end there.
    return read_text(re.sub(r"\n+", "\n\n", text))
