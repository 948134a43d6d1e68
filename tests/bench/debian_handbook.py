"""A third corpus, in several languages: the Debian Administrator's Handbook, read by Headrace's own reader of HTML.

Anyone can have it: `apt-get download debian-handbook && dpkg -x …deb folder`, then
DEBIAN_HANDBOOK=folder/usr/share/doc/debian-handbook/html. The titles of its sections are asked for; the sections are indexed
without them.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from functions.ingest.chunk import chunk_blocks
from headrace.parsers.readers import Source, read_blocks
from headrace.types import Block, Chunk
from tests.bench.corpus import MARK, TENANT, Labelled
from tests.bench.debian_faq import hidden

LANGUAGES = {"en": "en-US", "de": "de-DE", "fr": "fr-FR", "es": "es-ES", "ja": "ja-JP"}
# A title says what its section is about in so many characters, or it is no question.
SHORTEST_TITLE = 12
_NUMBER = re.compile(r"^[\d.\s]+")


def folder() -> Path | None:
    """Where the handbook is, if it is anywhere."""
    for place in (os.environ.get("DEBIAN_HANDBOOK"), "/usr/share/doc/debian-handbook/html"):
        if place and (Path(place) / "en-US" / "apt.html").exists():
            return Path(place)
    return None


def load(root: Path, language: str) -> tuple[list[Chunk], list[Labelled]]:
    """The chunks and the questions of one language."""
    files = [page for page in sorted((root / LANGUAGES[language]).glob("*.html")) if page.name != "index.html"]
    pages: list[tuple[str, list[Block]]] = [(page.name, read_blocks(Source(page, page.name))[0]) for page in files]
    known = Counter(title for _, blocks in pages for title in {block.section[-1] for block in blocks if block.section})
    titles = {title for title, pages_with in known.items() if pages_with == 1 and len(_asked(title)) >= SHORTEST_TITLE}
    chunks: list[Chunk] = []
    questions: list[Labelled] = []
    for name, blocks in pages:
        # Lists of contents say all titles.
        texts = [hidden(block, titles) for block in blocks if _asked(block.text) not in {_asked(t) for t in titles}]
        made = chunk_blocks(texts, document_key=f"documents/{TENANT}/{name}", generation=1)
        for title in sorted({chunk.section[-1] for chunk in made if chunk.section and chunk.section[-1][:1] == MARK}):
            right = {(c.document_key, c.index) for c in made if c.section and c.section[-1] == title}
            questions.append(Labelled(_asked(title[1:]), "faq", frozenset(right)))
        chunks += [replace(chunk, section=tuple(s for s in chunk.section if not s.startswith(MARK))) for chunk in made]
    return chunks, questions


def _asked(title: str) -> str:
    return " ".join(_NUMBER.sub("", title).split())
