"""The answerer without a language model: it quotes the sentences that speak of the question, and writes nothing itself.

No language model runs. A sentence scores by the question's words that it
carries, rarer words more, beside its passage's similarity to the question.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass

from headrace.answering.citations import CitationFilter
from headrace.answering.generation import as_shown
from headrace.text.sentences import content_stems, sentence_spans
from headrace.types import (
    AnswerEvent,
    AnswerMode,
    DoneEvent,
    FinishReason,
    Passage,
    PassagesEvent,
    Question,
    Stage,
    StatusEvent,
    Usage,
    UsageEvent,
)

NOTICE = "No language model is configured: these are quotes from your documents."

MAX_QUOTES = 3
MAX_QUOTE_CHARACTERS = 400
# A further quote must be at least this good beside the best one.
RELATIVE_SCORE = 0.6


@dataclass(frozen=True, slots=True)
class _Candidate:
    number: int
    start: int
    text: str
    score: float


class ExtractiveAnswerer:
    """An Answerer that quotes: `“sentence” [n]`. It can't tell a follow-up from a new question, so it reads no history."""

    name = "headrace-extractive"
    reads_history = False
    needs_certain_match = True

    async def check(self) -> None:
        """Always ready: there is nothing outside to reach."""

    def sharing_key(self, question: Question) -> str | None:  # noqa: ARG002 - every question is for sharing
        return self.name

    async def answer(self, question: Question, passages: Sequence[Passage]) -> AsyncGenerator[AnswerEvent, None]:
        yield StatusEvent(Stage.ANSWERING, AnswerMode.EXTRACTIVE, NOTICE)
        yield PassagesEvent(as_shown(passages))
        citations = CitationFilter(passages)
        for piece in _pieces(question.text, passages):
            for event in citations.feed(piece):
                yield event
        for event in citations.close():
            yield event
        yield UsageEvent(Usage())
        yield DoneEvent(AnswerMode.EXTRACTIVE, FinishReason.STOP)


def _pieces(question: str, passages: Sequence[Passage]) -> Iterator[str]:
    """The quotes, word for word, so that they stream."""
    for position, quote in enumerate(_best_quotes(question, passages)):
        if position:
            yield "\n\n"
        for piece in f"“{quote.text}” [{quote.number}]".split(" "):
            yield piece if piece.endswith("]") else piece + " "


def _best_quotes(question: str, passages: Sequence[Passage]) -> list[_Candidate]:
    wanted = content_stems(question)
    weights = _rarity(wanted, passages)
    candidates = [
        c for number, passage in enumerate(passages, 1) for c in _candidates(number, passage, wanted, weights)
    ]
    candidates.sort(key=lambda c: (-c.score, c.number, c.start))
    floor = candidates[0].score * RELATIVE_SCORE if candidates else 0.0
    chosen: list[_Candidate] = []
    for candidate in candidates:
        fresh = all(candidate.text not in other.text and other.text not in candidate.text for other in chosen)
        if candidate.score >= floor and fresh and len(chosen) < MAX_QUOTES:
            chosen.append(candidate)
    return chosen


def _candidates(number: int, passage: Passage, wanted: frozenset[str], weights: dict[str, float]) -> list[_Candidate]:
    text = passage.chunk.text
    heading = content_stems(passage.chunk.text_to_embed)
    total = sum(weights.values()) or 1.0
    found = []
    for start, end in sentence_spans(text):
        sentence = text[start:end]
        stems = content_stems(sentence)
        carried = sum(weights[stem] for stem in wanted & stems) / total
        implied = sum(weights[stem] for stem in (wanted & heading) - stems) / total
        # A line of two words, most often a heading, says nothing by itself.
        substance = min(1.0, len(stems) / 4)
        score = (carried + 0.3 * implied + 0.8 * max(passage.similarity or 0.0, 0.0)) * substance
        found.append(_Candidate(number, start, _shorten(sentence), score))
    return found


def _rarity(wanted: frozenset[str], passages: Sequence[Passage]) -> dict[str, float]:
    counts = Counter(stem for passage in passages for stem in wanted & content_stems(passage.chunk.text_to_embed))
    return {stem: math.log(1 + (len(passages) + 1) / (counts[stem] + 0.5)) for stem in wanted if counts[stem]}


def _shorten(sentence: str) -> str:
    if len(sentence) <= MAX_QUOTE_CHARACTERS:
        return sentence
    return sentence[
        : sentence.rfind(" ", 0, MAX_QUOTE_CHARACTERS)
        if " " in sentence[:MAX_QUOTE_CHARACTERS]
        else MAX_QUOTE_CHARACTERS
    ]
