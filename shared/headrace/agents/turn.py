"""One turn of an agent's model: what it says, and the calls of tools that it asks for, collected from its stream."""

from __future__ import annotations

import secrets
from functools import cached_property
from typing import Any

from headrace.answering.generation import RefusalMark
from headrace.answering.writing import Writing
from headrace.protocols import ChatModel
from headrace.types import AnswerMode, DoneEvent, FinishReason, Message, ModelChunk, ToolCall, ToolCallDelta, Usage


class Turn:
    """Observe each chunk, then read what came of it."""

    def __init__(self, model: ChatModel) -> None:
        self._writing = Writing(model)
        self._refusal = RefusalMark()
        # Each call's id, name and arguments; and where the one is that has a number now.
        self._calls: list[list[str]] = []
        self._places: dict[int, int] = {}
        self.text = ""

    def observe(self, chunk: ModelChunk) -> str:
        """Take note of a chunk; gives what readers may see of its text."""
        for piece in chunk.tool_calls:
            if self._begins(piece):
                self._places[piece.index] = len(self._calls)
                self._calls.append([piece.id, "", ""])
            call = self._calls[self._places[piece.index]]
            # Some servers repeat id and name with each piece.
            call[0], call[1] = call[0] or piece.id, call[1] or piece.name
            call[2] += piece.arguments
        text = self._writing.observe(chunk)
        self.text += text
        return self._refusal.feed(text)

    def _begins(self, piece: ToolCallDelta) -> bool:
        """Whether a call begins: some servers give all of them one number, and each its own id."""
        place = self._places.get(piece.index)
        return place is None or bool(piece.id and self._calls[place][0] and piece.id != self._calls[place][0])

    def close(self) -> str:
        """What was held back of the text."""
        return self._refusal.close()

    @cached_property
    def calls(self) -> tuple[ToolCall, ...]:
        """The calls of the whole turn, each with an id: some servers give none."""
        return tuple(
            ToolCall(id_ or f"call_{secrets.token_hex(8)}", name, arguments.strip() or "{}")
            for id_, name, arguments in self._calls
            if name
        )

    @property
    def is_refusal(self) -> bool:
        """Whether the text says that there is no answer."""
        return self._refusal.is_there

    @property
    def usage(self) -> Usage:
        return self._writing.usage

    @property
    def finish_reason(self) -> FinishReason:
        """Why the model ended. Raises ModelUnavailableError when it did not say."""
        return self._writing.finish_reason

    def done(self, mode: AnswerMode, reason: FinishReason, **more: Any) -> DoneEvent:
        """The answer's last event, which names who wrote."""
        return self._writing.done(mode, reason, **more)


def as_message(turn: Turn) -> Message:
    """The turn as the model reads it when it goes on."""
    return Message("assistant", turn.text, tool_calls=turn.calls)
