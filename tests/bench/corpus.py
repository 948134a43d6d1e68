"""A corpus with questions whose answers are known: the Python documentation, as Debian packs it (python3.11-doc).

Anyone can have it: `apt-get download python3.11-doc && dpkg -x python3.11-doc_*.deb folder`, then
PYTHON_DOCS=folder/usr/share/doc/python3.11/html. The FAQ's questions are asked of its answers, which are indexed without
their questions; and how identifiers are used is asked of the paragraphs that define them.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lxml import html

from functions.ingest.chunk import chunk_blocks
from headrace.types import Block, Chunk

TENANT = "python"
IDENTIFIERS = 200
MARK = "\x00"


@dataclass(frozen=True)
class Labelled:
    """A question, its kind (`faq` or `identifier`), and the chunks that answer it, as (document, index)."""

    text: str
    kind: str
    answers: frozenset[tuple[str, int]]


@dataclass(frozen=True)
class Paragraph:
    """A piece of a page: under which sections (id and title), and the identifier that it defines, if any."""

    text: str
    path: tuple[tuple[str, str], ...]
    defines: str | None = None


def folder() -> Path | None:
    """Where the documentation is, if it is anywhere."""
    for place in (os.environ.get("PYTHON_DOCS"), "/usr/share/doc/python3.11/html"):
        if place and (Path(place) / "faq" / "general.html").exists():
            return Path(place)
    return None


def load(root: Path) -> tuple[list[Chunk], list[Labelled]]:
    """The chunks and the questions; the same ones every time."""
    library = sorted((root / "library").glob("*.html"))[::4]
    pages = [*sorted((root / "faq").glob("*.html")), *sorted((root / "tutorial").glob("*.html")),
             *sorted((root / "howto").glob("*.html")), *library]  # fmt: skip
    chunks: list[Chunk] = []
    questions: list[Labelled] = []
    definitions: list[Labelled] = []
    for page in pages:
        paragraphs = list(_paragraphs(page))
        key = f"documents/{TENANT}/{page.parent.name}-{page.name}"
        is_faq = page.parent.name == "faq"
        made = chunk_blocks([_block(p, is_faq=is_faq) for p in paragraphs], document_key=key, generation=1)
        if is_faq:
            questions += _faq_questions(paragraphs, made)
        elif page.parent.name == "library":
            definitions += _identifier_questions(paragraphs, made)
        chunks += [replace(chunk, section=tuple(s for s in chunk.section if not s.startswith(MARK))) for chunk in made]
    return chunks, questions + random.Random(7).sample(definitions, IDENTIFIERS)


def _paragraphs(page: Path) -> Iterator[Paragraph]:
    body = html.parse(str(page)).xpath('//div[@role="main"]')
    if body:
        yield from _walk(body[0], ())


def _walk(element: Any, path: tuple[tuple[str, str], ...]) -> Iterator[Paragraph]:
    for child in element:
        if not isinstance(child.tag, str) or re.fullmatch("h[1-6]", child.tag):
            continue
        if child.tag == "section":
            heading = next((c for c in child if isinstance(c.tag, str) and re.fullmatch("h[1-6]", c.tag)), None)
            title = re.sub(r"^[\d.]+\s*", "", _text(heading)) if heading is not None else ""
            yield from _walk(child, (*path, (child.get("id") or "", title)))
        elif child.tag == "dl":
            for part in child.iter("dt", "dd"):
                if part.tag == "dt":
                    yield Paragraph(_text(part), path, part.get("id"))
                else:
                    yield from (Paragraph(_text(c), path) for c in part if isinstance(c.tag, str) and c.tag != "dl")
        else:
            yield Paragraph(_text(child), path)


def _text(element: Any) -> str:
    return re.sub(r"\s+", " ", element.text_content()).replace("¶", "").strip()


def _block(paragraph: Paragraph, *, is_faq: bool) -> Block:
    titles = tuple(title for _, title in paragraph.path)
    if is_faq:
        # Each answer stays a section of its own, but its question is not told.
        titles = (*titles[:2], MARK + (paragraph.path[-1][0] if paragraph.path else ""))
    return Block(paragraph.text, None, titles)


def _faq_questions(paragraphs: list[Paragraph], chunks: list[Chunk]) -> Iterator[Labelled]:
    for section, title in dict.fromkeys(p.path[-1] for p in paragraphs if len(p.path) >= 3):
        answers = {(c.document_key, c.index) for c in chunks if c.section[-1] == MARK + section}
        if answers:
            yield Labelled(title, "faq", frozenset(answers))


def _identifier_questions(paragraphs: list[Paragraph], chunks: list[Chunk]) -> Iterator[Labelled]:
    for paragraph in paragraphs:
        if paragraph.defines and "." in paragraph.defines:
            start = paragraph.text[:60]
            answers = [(c.document_key, c.index) for c in chunks if start in c.text.replace("\n", " ")]
            if answers:
                yield Labelled(f"How do I use {paragraph.defines}?", "identifier", frozenset(answers[:2]))
