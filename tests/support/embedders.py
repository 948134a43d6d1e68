"""An embedder that costs nothing: a direction of its own for every text."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.chunks import vector


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
