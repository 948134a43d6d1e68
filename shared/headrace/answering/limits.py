"""The limits that a caller sets on an answer's text, kept here where no language model keeps them."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterable, Sequence

import msgspec

from headrace.types import AnswerEvent, AnswerOptions, CitationEvent, DoneEvent, FinishReason, TokenEvent

# Without a language model there is no vocabulary of tokens: a word is one, and so is a mark.
_TOKEN = re.compile(r"\w+|[^\w\s]")


async def within(events: Iterable[AnswerEvent], options: AnswerOptions) -> AsyncGenerator[AnswerEvent, None]:
    """The events, their text cut at `max_tokens` or before the first `stop` sequence."""
    limits = _Limits(options.max_tokens, options.model.stop)
    for event in events:
        for given in limits.feed(event):
            yield given


class _Limits:
    """Cuts one answer's text; a piece that may be the beginning of a stop sequence is held back."""

    def __init__(self, max_tokens: int | None, stop: Sequence[str]) -> None:
        self._left = max_tokens
        self._stop = stop
        self._held = ""
        self._reason: FinishReason | None = None

    def feed(self, event: AnswerEvent) -> list[AnswerEvent]:
        match event:
            case TokenEvent(text):
                return self._token(text) if self._reason is None else []
            case CitationEvent():
                return [event] if self._reason is None else []
            case DoneEvent():
                last = self._said(self._held) if self._reason is None else []
                done = event if self._reason is None else msgspec.structs.replace(event, finish_reason=self._reason)
                return [*last, done]
        return [event]

    def _token(self, text: str) -> list[AnswerEvent]:
        text, self._held = self._held + text, ""
        cuts = [place for stop in self._stop if (place := text.find(stop)) >= 0]
        if cuts:
            said = self._said(text[: min(cuts)])
            self._reason = self._reason or FinishReason.STOP
            return said
        unsure = max((_beginning(stop, text) for stop in self._stop), default=0)
        if unsure:
            text, self._held = text[:-unsure], text[-unsure:]
        return self._said(text)

    def _said(self, text: str) -> list[AnswerEvent]:
        """The text, as far as tokens are left."""
        if self._left is not None:
            tokens = list(_TOKEN.finditer(text))
            if len(tokens) > self._left:
                text = text[: tokens[self._left - 1].end()] if self._left else ""
                self._reason = FinishReason.LENGTH
            self._left -= min(len(tokens), self._left)
        return [TokenEvent(text)] if text else []


def _beginning(stop: str, text: str) -> int:
    """How many of the text's last characters are the first ones of the stop sequence."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
