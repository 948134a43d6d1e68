"""What every reader's outcome is held to, in one place: titles and labels are cut, so that none can fill a prompt."""

from __future__ import annotations

from dataclasses import replace

from headrace.types import Block, ParsedFile

# A title that is longer is a paragraph; it stands before each of its section's passages.
MOST_TITLE_CHARACTERS = 200
MOST_LEVELS = 10
ELLIPSIS = "…"


def bounded(parsed: ParsedFile) -> ParsedFile:
    """The file with bounded titles: the innermost levels of a section are kept, text stays as it is."""
    return replace(parsed, blocks=[_bounded(block) for block in parsed.blocks])


def _bounded(block: Block) -> Block:
    if len(block.section) <= MOST_LEVELS and all(len(title) <= MOST_TITLE_CHARACTERS for title in block.section):
        return block
    return replace(block, section=tuple(_cut(title) for title in block.section[-MOST_LEVELS:]))


def _cut(title: str) -> str:
    return title if len(title) <= MOST_TITLE_CHARACTERS else title[: MOST_TITLE_CHARACTERS - 1] + ELLIPSIS
