"""How far an agent goes: steps, tokens and seconds, looked at before each call of the model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """`steps` are rounds of tool calls, `tokens` what the model has read and written in all, `seconds` the time since the question.

    Past one of them, the model is asked once more, and for its answer: no tool is called any more. `calls` are made in one
    step at most, and of a tool's result the model reads so many `characters`.
    """

    steps: int = 8
    tokens: int = 60_000
    seconds: float = 60.0
    calls: int = 8
    characters: int = 20_000


class Budget:
    """What is left of the limits while one answer is made."""

    def __init__(self, limits: AgentLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._ends_at = clock() + limits.seconds
        self.steps = 0
        self.tokens = 0

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._ends_at - self._clock())

    @property
    def spent(self) -> str | None:
        """The limit that is reached, if one is."""
        if self.steps >= self._limits.steps:
            return "steps"
        if self.tokens >= self._limits.tokens:
            return "tokens"
        return None if self.seconds_left else "seconds"
