"""An embedder that costs nothing: a direction of its own for every text."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.text.sentences import words
from tests.support.chunks import unit, vector


class HashEmbedder:
    """An Embedder whose vectors say nothing but that texts are equal."""

    relevance_floor = -1.0
    max_tokens = 1_000_000

    def __init__(self, model: str = "hash") -> None:
        self.model = model
        self.texts = 0

    async def check(self) -> None:
        """Always ready."""

    def count_tokens(self, text: str) -> int:
        return len(text)

    async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        self.texts += len(texts)
        return [vector(f"{self.model}{text}") for text in texts]


class WordEmbedder:
    """An Embedder of a small vocabulary: texts that share its words are near, whatever else they say."""

    relevance_floor = 0.2
    max_tokens = 1_000_000
    model = "words"

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._directions = {word: vector(word) for word in vocabulary}

    async def check(self) -> None:
        """Always ready."""

    def count_tokens(self, text: str) -> int:
        return len(text)

    async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        return [self._embed(text) for text in texts]

    def _embed(self, text: str) -> Sequence[float]:
        known = [self._directions[word] for word in words(text) if word in self._directions]
        return unit([sum(values) for values in zip(*known, strict=True)]) if known else vector("nothing")
