"""A second corpus: Debian's FAQ, in English and in German, read by Headrace's own reader of HTML.

Anyone can have it: `apt-get download debian-faq debian-faq-de && dpkg -x …deb folder`, then
DEBIAN_FAQ=folder/usr/share/doc/debian/FAQ. Its headings are the questions; the answers are indexed without them.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from functions.ingest.chunk import chunk_blocks
from headrace.parsers.readers import Source, read_blocks
from headrace.types import Block, Chunk
from tests.bench.corpus import MARK, TENANT, Labelled


def folder() -> Path | None:
    """Where the FAQ is, if it is anywhere."""
    for place in (os.environ.get("DEBIAN_FAQ"), "/usr/share/doc/debian/FAQ"):
        if place and (Path(place) / "software.en.html").exists():
            return Path(place)
    return None


def load(root: Path, language: str) -> tuple[list[Chunk], list[Labelled]]:
    """The chunks and the questions of one language."""
    chunks: list[Chunk] = []
    questions: list[Labelled] = []
    for page in sorted((root if language == "en" else root / language).glob(f"*.{language}.html")):
        blocks, _ = read_blocks(Source(page, page.name))
        titles = {title for block in blocks for title in block.section if title.endswith("?")}
        # The table of contents says all questions.
        answers = [hidden(block, titles) for block in blocks if block.text not in titles]
        made = chunk_blocks(answers, document_key=f"documents/{TENANT}/{page.name}", generation=1)
        for title in sorted(titles):
            right = {(c.document_key, c.index) for c in made if c.section and c.section[-1] == MARK + title}
            if right:
                questions.append(Labelled(re.sub(r"^[\d.]+\s*", "", title), "faq", frozenset(right)))
        chunks += [replace(chunk, section=tuple(s for s in chunk.section if not s.startswith(MARK))) for chunk in made]
    return chunks, questions


def hidden(block: Block, titles: set[str]) -> Block:
    """The block in a section of its own, whose title is not told."""
    return replace(block, section=tuple(MARK + title if title in titles else title for title in block.section))
