"""Every word that a file shows is read, in its order, once; what is hidden is not; no value stands under a wrong label."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import pytest

from headrace.parsers.readers import Source, read_blocks
from headrace.types import Block
from tests.support import documents
from tests.support.scale import tries

FILES = tries(2_000, 50_000)
# A file of these takes as long as ten of another kind.
SLOW = {"docx", "pptx"}
SHARES = {kind: 0.025 if kind in SLOW else 0.95 / (len(documents.WRITERS) - len(SLOW)) for kind in documents.WRITERS}
KINDS = sorted(SHARES)


@pytest.mark.parametrize("kind", KINDS)
def test_every_word_is_read_once_and_under_its_label(kind: str, tmp_path: Path) -> None:
    for seed in range(round(FILES * SHARES[kind])):
        parts = documents.document(seed * 1_000 + KINDS.index(kind))
        path = tmp_path / f"{seed}"
        content = documents.written(parts, kind)
        if not content.strip():
            continue
        path.write_bytes(content)
        blocks, notes = read_blocks(Source(path, f"a.{kind}"))
        assert not notes, (kind, seed, notes)
        path.unlink()
        check_words(parts, blocks, kind, seed)
        if kind in documents.WITH_TABLES:
            check_tables(parts, blocks, f"{kind} {seed}")


def check_words(parts: list[documents.Part], blocks: list[Block], kind: str, seed: int) -> None:
    read = [word for block in blocks for word in re.findall(r"\w+", block.text)]
    counts = Counter(read)
    hidden = {word for part in parts for word in part.hidden}
    assert not hidden & counts.keys(), (kind, seed, hidden & counts.keys())
    if kind in documents.NOTHING_BUT_TABLES:
        return
    words = documents.visible(parts)
    if kind != "json":
        assert [word for word in read if word in set(words)] == words, (kind, seed)
    assert all(counts[word] == 1 for word in words), (kind, seed, [word for word in words if counts[word] != 1])


def check_tables(parts: list[documents.Part], blocks: list[Block], case: str) -> None:
    """Each value is read, and stands under its own label."""
    texts = [block.text for block in blocks]
    for part in parts:
        if part.table is None:
            continue
        assert not part.table.title or part.table.title in " ".join(texts), (case, part.table.title)
        for row in part.table.expected():
            key = next(value for value in reversed(row))
            (text,) = [text for text in texts if key in re.findall(r"\w+", text)]
            for value, label in row.items():
                assert f"{label}: {value}" in text, (case, text, label, value)


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    """The ledger finds out by itself: words in a part of the document that no reader looks into."""
    from headrace.parsers.ledger import difference

    note = difference(["one two", "threefour fivesix seveneight"], ["One, two!"])
    assert note is not None
    assert note.text == (
        "Of 32 characters that the file holds, 6 were read. Not read, among others: threefour, fivesix, seveneight."
    )
    assert difference(["one two"], ["two one"]) is None
    chance = random.Random(7)
    words = documents.Words(chance).words(200, 200)
    assert difference([" ".join(words)], words[:-5]) is not None
