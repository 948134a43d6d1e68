"""What an answer's tokens cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

REPLAYED = frozenset({"hit", "shared"})


class Spent(Protocol):
    """What an answer took: the tokens of the model that wrote it, and of the one that judged. `verdict` is the cache's."""

    @property
    def model(self) -> str: ...
    @property
    def verdict(self) -> str | None: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...
    @property
    def judge_tokens(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Pricing:
    """Dollars for a million tokens that a model reads, and for a million that it writes, by the model's name.

    `judge_model` reads near questions and follow-ups.
    """

    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    judge_model: str = ""

    def dollars(self, answer: Spent) -> float | None:
        """What the answer cost; None where a model took part whose price is not known."""
        judged = self._price(self.judge_model or answer.model, answer.judge_tokens, 0)
        written: float | None = 0.0
        if answer.model and answer.verdict not in REPLAYED:
            written = self._price(answer.model, answer.prompt_tokens, answer.completion_tokens)
        return None if judged is None or written is None else judged + written

    def _price(self, model: str, reads: int, writes: int) -> float | None:
        if not (reads or writes):
            return 0.0
        if model not in self.prices:
            return None
        reading, writing = self.prices[model]
        return (reads * reading + writes * writing) / 1e6
