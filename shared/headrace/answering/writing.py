"""What a call of a language model comes to, collected from the pieces of its stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from headrace.errors import ModelUnavailableError
from headrace.protocols import ChatModel
from headrace.types import AnswerMode, DoneEvent, FinishReason, ModelChunk, Usage


class Writing:
    """One answer that a model writes: observe each chunk, then say how it ended."""

    def __init__(self, model: ChatModel) -> None:
        self._asked = self._writer = model.name
        self._reason: FinishReason | None = None
        self._is_fallback = self._is_enforced = False
        self.usage = Usage()

    def observe(self, chunk: ModelChunk) -> str:
        """Take note of a chunk; gives its text."""
        self.usage = chunk.usage or self.usage
        self._reason = chunk.finish_reason or self._reason
        self._writer = chunk.model or self._writer
        self._is_fallback = self._is_fallback or chunk.fallback
        self._is_enforced = self._is_enforced or chunk.enforced
        return chunk.text

    @property
    def finish_reason(self) -> FinishReason:
        """Why the model ended. Raises ModelUnavailableError when it did not say."""
        if self._reason is None:
            raise ModelUnavailableError(f"The language model {self._asked!r} broke off its answer. Try again.")
        return self._reason

    @property
    def constraint(self) -> str:
        """How a constrained text got its form."""
        return "enforced" if self._is_enforced else "checked"

    def done(self, mode: AnswerMode, finish_reason: FinishReason, **more: Any) -> DoneEvent:
        """The answer's last event, which names who wrote."""
        return DoneEvent(mode, finish_reason, model=self._writer, fallback=self._is_fallback, **more)


async def written(chunks: AsyncGenerator[ModelChunk, None]) -> tuple[str, Usage]:
    """The whole text of a stream, and what it cost. Raises what the model raises."""
    text, usage = "", Usage()
    async with aclosing(chunks):
        async for chunk in chunks:
            text += chunk.text
            usage = chunk.usage or usage
    return text, usage
