"""Blocks to chunks: whole paragraphs packed up to a size, never across sections, seldom across pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from headrace.sentences import sentence_spans
from headrace.types import Block, Chunk

# MiniLM reads 256 tokens: 900 characters of English stay within that in nine chunks of ten.
MAX_CHARACTERS = 900
# A page's end closes a chunk that has at least this much text.
ENOUGH_CHARACTERS = 300


def chunk_blocks(blocks: Sequence[Block], *, document_key: str, generation: int) -> list[Chunk]:
    """The document's chunks in reading order; at least one when any block has text."""
    groups = list(_groups([piece for block in blocks for piece in _split(block)]))
    # A heading with nothing below it says nothing that its sections' headers don't.
    speaking = [group for group in groups if any(block.text != _title(block) for block in group)] or groups
    return [
        Chunk(document_key, generation, index, "\n".join(b.text for b in group), group[0].page, group[0].section)
        for index, group in enumerate(speaking)
    ]


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
    while len(text) > MAX_CHARACTERS:
        ends = [end for _, end in sentence_spans(text[: MAX_CHARACTERS + 1]) if end < MAX_CHARACTERS]
        cut = ends[-1] if ends else text.rfind(" ", 1, MAX_CHARACTERS)
        cut = cut if cut > 0 else MAX_CHARACTERS
        yield replace(block, text=text[:cut].strip())
        text = text[cut:].strip()
    if text:
        yield replace(block, text=text)


def _title(block: Block) -> str:
    return block.section[-1] if block.section else ""
