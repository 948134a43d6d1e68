"""What an agent's answer may rest on: the passages that were found, each with one number, and what tools returned."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.agents.prompt import result_message
from headrace.types import ChunkId, Passage, ToolResult


class Sources:
    """Grows while tools find more; a passage that is found again keeps its number."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        # Citations look passages up in this very list.
        self.passages: list[Passage] = []
        self.results: list[str] = []
        self._numbers: dict[ChunkId, int] = {}
        for passage in passages:
            self._number(passage)

    def take(self, result: ToolResult, *, most_characters: int) -> tuple[str, tuple[int, ...]]:
        """Add a tool's result: the text that the model reads, and the numbers of its passages."""
        before = len(self.passages)
        numbers = tuple(dict.fromkeys(map(self._number, result.passages)))
        new = [(number, self.passages[number - 1]) for number in numbers if number > before]
        known = [number for number in numbers if number <= before]
        if result.text:
            self.results.append(result.text[:most_characters])
        return result_message(result.text, new, known, most=most_characters), numbers

    def _number(self, passage: Passage) -> int:
        identity = passage.chunk.identity
        if identity not in self._numbers:
            self.passages.append(passage)
            self._numbers[identity] = len(self.passages)
        return self._numbers[identity]
