"""Blocks to chunks: whole paragraphs packed up to a size, never across sections, seldom across pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby

from headrace.text.sentences import sentence_spans
from headrace.types import Block, Chunk

# MiniLM reads 256 tokens: 900 characters of English stay within that in nine chunks of ten.
MAX_CHARACTERS = 900
# A page's end closes a chunk that has at least this much text.
ENOUGH_CHARACTERS = 300
# The end of a chunk that the next one of its section begins with, embedded but not quoted.
LEAD_CHARACTERS = 120
# A table of very many columns is not shown: stores take 40 kB beside a vector.
MAX_HTML_CHARACTERS = 8_000
# What is left of a text that is cut and cut again.
LEAST_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class TokenLimit:
    """What the embedding model reads of a text, and how it counts."""

    max_tokens: int
    count: Callable[[str], int]

    def allows(self, text: str) -> bool:
        # No tokenizer makes more tokens than there are bytes, but for its few marks at the ends.
        return len(text.encode()) + 8 <= self.max_tokens or self.count(text) <= self.max_tokens


def chunk_blocks(
    blocks: Sequence[Block], *, document_key: str, generation: int, limit: TokenLimit | None = None
) -> list[Chunk]:
    """The document's chunks in reading order; at least one when any block has text."""
    groups = list(_groups([piece for block in blocks for piece in _split(block)]))
    # A heading with nothing below it says nothing that its sections' headers don't.
    speaking = [group for group in groups if any(block.text != _title(block) for block in group)] or groups
    made: list[Chunk] = []
    for group in speaking:
        chunk = _chunk(group, document_key, generation)
        pieces = [group] if limit is None or limit.allows(chunk.text_to_embed) else _fitting(group, chunk, limit)
        for piece in pieces:
            new = replace(_chunk(piece, document_key, generation), index=len(made))
            led = replace(new, lead=_lead(made[-1], new)) if made else new
            made.append(led if limit is None or limit.allows(led.text_to_embed) else new)
    return made


def _chunk(group: Sequence[Block], document_key: str, generation: int) -> Chunk:
    text = "\n".join(block.text for block in group)
    spot = _spots(group[0].spot, group[-1].spot)
    return Chunk(document_key, generation, 0, text, group[0].page, group[0].section, html=_tables(group), spot=spot)


def _spots(first: str, last: str) -> str:
    """From where to where: `row 12–18`, `employees[3] – employees[5]`."""
    if not last or first == last:
        return first
    name, _, number = last.rpartition(" ")
    return f"{first}–{number}" if name and first.startswith(f"{name} ") else f"{first} – {last}" if first else last


def _fitting(group: list[Block], like: Chunk, limit: TokenLimit) -> Iterator[list[Block]]:
    """The group in halves, and halves of halves, until the model reads each to its end."""
    text = "\n".join(block.text for block in group)
    if limit.allows(replace(like, text=text).text_to_embed) or len(text) < LEAST_CHARACTERS:
        yield group
    elif len(group) > 1:
        middle = len(group) // 2
        yield from _fitting(group[:middle], like, limit)
        yield from _fitting(group[middle:], like, limit)
    else:
        cut = _cut(text, len(text) // 2)
        for half in (text[:cut].strip(), text[cut:].strip()):
            if half:
                # Half a row is a table no longer.
                yield from _fitting([replace(group[0], text=half, cells=())], like, limit)


def _groups(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    group: list[Block] = []
    size = 0
    for block in blocks:
        if group and _must_break(group[-1], block, size):
            yield group
            group, size = [], 0
        group.append(block)
        size += len(block.text) + 1
    if group:
        yield group


def _must_break(last: Block, block: Block, size: int) -> bool:
    if last.section != block.section or size + len(block.text) > MAX_CHARACTERS:
        return True
    return last.page != block.page and size >= ENOUGH_CHARACTERS


def _split(block: Block) -> Iterator[Block]:
    """The block, or its sentences packed into pieces that fit; a sentence that is too long is cut between words."""
    text = block.text.strip()
    cells = block.cells if len(text) <= MAX_CHARACTERS else ()
    start = 0
    while start < len(text):
        rest = text[start : start + MAX_CHARACTERS + 1]
        cut = _cut(rest, MAX_CHARACTERS) if len(rest) > MAX_CHARACTERS else len(rest)
        if piece := rest[:cut].strip():
            yield replace(block, text=piece, cells=cells)
        start += cut


def _cut(text: str, size: int) -> int:
    """Where to cut a text so that its first part is no longer than `size`: after a sentence, a word, or anywhere."""
    ends = [end for _, end in sentence_spans(text[: size + 1]) if end < size]
    cut = ends[-1] if ends else text.rfind(" ", 1, size)
    return cut if cut > 0 else size


def _lead(before: Chunk, chunk: Chunk) -> str:
    """The last sentence before the chunk, where the chunk goes on with its section's text."""
    if before.section != chunk.section or before.html or chunk.html:
        return ""
    *_, (start, end) = ((0, 0), *sentence_spans(before.text))
    return before.text[start:end] if end - start <= LEAD_CHARACTERS else ""


def _tables(group: Sequence[Block]) -> str:
    """The group's table rows as HTML, for display; empty when it has none."""
    runs = groupby((block.cells for block in group if block.cells), key=lambda cells: tuple(c[0] for c in cells))
    html = "".join(_table(labels, list(rows)) for labels, rows in runs)
    return html if len(html) <= MAX_HTML_CHARACTERS else ""


def _table(labels: Sequence[str], rows: Sequence[Sequence[tuple[str, str]]]) -> str:
    head = _row(labels, "th") if any(labels) else ""
    return f"<table>{head}{''.join(_row([value for _, value in row], 'td') for row in rows)}</table>"


def _row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _title(block: Block) -> str:
    return block.section[-1] if block.section else ""
