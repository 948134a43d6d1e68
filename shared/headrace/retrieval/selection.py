"""Which of the passages found are worth an answer's room: near-duplicates are said once."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.text.lexical import distinct_terms
from headrace.types import Passage

# Two passages that share this much of their words say the same, unless their numbers differ.
SAME_WORDS = 0.85


def without_repeats(passages: Sequence[Passage], *, limit: int) -> list[Passage]:
    """The first passages in order, so many at most, each near-duplicate of an earlier one left out."""
    kept: list[tuple[Passage, frozenset[str]]] = []
    for passage in passages:
        if len(kept) == limit:
            break
        words = distinct_terms(passage.chunk.text)
        if not any(_are_near_duplicates(words, earlier) for _, earlier in kept):
            kept.append((passage, words))
    return [passage for passage, _ in kept]


def _are_near_duplicates(some: frozenset[str], others: frozenset[str]) -> bool:
    if len(some & others) < SAME_WORDS * len(some | others):
        return False
    return _numbers(some) == _numbers(others)


def _numbers(words: frozenset[str]) -> frozenset[str]:
    return frozenset(word for word in words if any(character.isdigit() for character in word))
