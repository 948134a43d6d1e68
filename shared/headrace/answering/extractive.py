"""The answerer without a language model: it quotes what speaks of the question, and writes nothing itself.

A sentence or row scores by the question's words that it carries, rarer words more, beside its passage's similarity to the
question. What no quote can answer is refused, or said to need a language model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass

from headrace.answering.asked import Asked, asked, carries, needs_model, same_word
from headrace.answering.citations import CitationFilter
from headrace.answering.generation import as_shown, refuse
from headrace.answering.limits import within
from headrace.answering.phrases import phrases_for
from headrace.answering.units import Unit, stems_of, units_of
from headrace.text.sentences import content_stems
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

# Names how quotes are chosen: answers that another way chose are not shared.
VERSION = 3
MAX_QUOTES = 3
MAX_QUOTE_CHARACTERS = 400
# A further quote must be at least this good beside the best one.
RELATIVE_SCORE = 0.6
# Of the question's words that the best quote carries, those that are about as rare as the rarest have to be in a further one.
RARE = 0.8
# A quote of fewer of the question's words than this, by their weight, is no answer by itself.
LEAST_CARRIED = 0.2


@dataclass(frozen=True, slots=True)
class _Candidate:
    number: int
    unit: Unit
    matched: frozenset[str]
    score: float


@dataclass(frozen=True, slots=True)
class _Passage:
    """What of a passage counts for each of its units: its titles, the question's words in them, and all of its stems."""

    number: int
    titles: str
    titled: frozenset[str]
    stems: frozenset[str]
    similarity: float


class ExtractiveAnswerer:
    """An Answerer that quotes: `“sentence” [n]`. It can't tell a follow-up from a new question, so it reads no history."""

    name = "headrace-extractive"
    reads_history = False
    needs_certain_match = True
    searches = False
    keeps_forms = False

    async def check(self) -> None:
        """Always ready: there is nothing outside to reach."""

    def sharing_key(self, question: Question) -> str | None:  # noqa: ARG002 - every question is for sharing
        return f"{self.name}/{VERSION}"

    def answer(self, question: Question, passages: Sequence[Passage]) -> AsyncGenerator[AnswerEvent, None]:
        return within(_events(question, passages), question.options)


def _events(question: Question, passages: Sequence[Passage]) -> Iterator[AnswerEvent]:
    wanted, is_beyond = asked(question.text), needs_model(question.text)
    quotes = _best_quotes(wanted, passages)
    phrases = phrases_for(question.text)
    if not quotes:
        yield from refuse(phrases.needs_model if is_beyond else phrases.refusal)
        return
    notice = f"{phrases.quotes} {phrases.unstyled}" if question.options.style else phrases.quotes
    yield StatusEvent(Stage.ANSWERING, AnswerMode.EXTRACTIVE, notice)
    yield PassagesEvent(as_shown(passages, question))
    citations = CitationFilter(passages)
    for piece in _pieces(quotes, wanted, f"{phrases.needs_model} {phrases.nearest}" if is_beyond else ""):
        yield from citations.feed(piece)
    yield from citations.close()
    yield UsageEvent(Usage())
    yield DoneEvent(AnswerMode.EXTRACTIVE, FinishReason.STOP)


def _pieces(quotes: Sequence[_Candidate], wanted: Asked, opening: str) -> Iterator[str]:
    """The quotes, word for word, so that they stream."""
    said = [*([opening] if opening else []), *(f"{_said(quote, wanted)} [{quote.number}]" for quote in quotes)]
    for position, paragraph in enumerate(said):
        if position:
            yield "\n\n"
        words = paragraph.split(" ")
        yield from (f"{word} " if number < len(words) - 1 else word for number, word in enumerate(words))


def _said(quote: _Candidate, wanted: Asked) -> str:
    """The quote as it is read: of a table's row what was asked for."""
    return _cell(quote.unit, wanted) or f"“{_shorten(quote.unit.text)}”"


def _cell(unit: Unit, wanted: Asked) -> str:
    """`Price: 500 EUR (Alpha pump)`: the values whose labels the question names, and what they are of. Else nothing."""
    cells = unit.cells
    named = [place for place, (label, _) in enumerate(cells) if _share(wanted.stems, content_stems(label))]
    of = [
        place
        for place, (_, value) in enumerate(cells)
        if _share(wanted.stems, content_stems(value)) and place not in named
    ]
    of = of or ([0] if 0 not in named else [])
    if not cells or not named or not of or len(named) + len(of) >= len(cells) > 2:
        return ""
    values = "; ".join(f"{cells[place][0]}: {cells[place][1]}" for place in named)
    return f"{values} ({', '.join(cells[place][1] for place in of)})"


def _share(wanted: frozenset[str], stems: frozenset[str]) -> bool:
    return any(same_word(word, stems) for word in wanted)


def _best_quotes(wanted: Asked, passages: Sequence[Passage]) -> list[_Candidate]:
    if any(not any(carries(name, passage.chunk.text_to_embed) for passage in passages) for name in wanted.names):
        # The documents that were found don't know what the question is about.
        return []
    found = [
        (number, unit, frozenset(stem for stem in wanted.stems if same_word(stem, unit.stems)))
        for number, passage in enumerate(passages, 1)
        for unit in units_of(passage.chunk)
    ]
    stems = [stems_of(passage.chunk.text_to_embed) for passage in passages]
    weights = _rarity(wanted.stems, [matched for _, _, matched in found], frozenset().union(*stems))
    known = [
        _passage(number, passage, some, weights)
        for number, (passage, some) in enumerate(zip(passages, stems, strict=True), 1)
    ]
    made = (_candidate(unit, matched, known[number - 1], wanted.names, weights) for number, unit, matched in found)
    candidates = sorted(filter(None, made), key=lambda c: (-c.score, c.number, c.unit.start))
    if not candidates or sum(weights.get(stem, 0.0) for stem in candidates[0].matched) < LEAST_CARRIED:
        return []
    best = candidates[0]
    if best.unit.steps:
        return _with_steps(best, passages)
    rare = _rare(best.matched, weights)
    chosen: list[_Candidate] = []
    for candidate in candidates:
        is_new = all(candidate.unit.text not in c.unit.text and c.unit.text not in candidate.unit.text for c in chosen)
        fits = candidate.score >= best.score * RELATIVE_SCORE and rare <= candidate.matched
        if candidate is best or (is_new and fits and len(chosen) < MAX_QUOTES):
            chosen.append(candidate)
    return chosen


def _with_steps(best: _Candidate, passages: Sequence[Passage]) -> list[_Candidate]:
    """The procedure as a whole, from the line that announces it."""
    text = passages[best.number - 1].chunk.text
    steps = [_Candidate(best.number, Unit(text[a:b], a, b, frozenset()), frozenset(), 0.0) for a, b in best.unit.steps]
    is_step = any(a <= best.unit.start < b for a, b in best.unit.steps)
    return steps if is_step else [best, *steps]


def _passage(number: int, passage: Passage, stems: frozenset[str], weights: Mapping[str, float]) -> _Passage:
    section = content_stems(" ".join(passage.chunk.section))
    titled = frozenset(stem for stem in weights if same_word(stem, section))
    titles = " ".join((passage.chunk.name, *passage.chunk.section))
    return _Passage(number, titles, titled, stems, max(passage.similarity or 0.0, 0.0))


def _candidate(
    unit: Unit, matched: frozenset[str], passage: _Passage, names: frozenset[str], weights: Mapping[str, float]
) -> _Candidate | None:
    if not all(carries(name, f"{passage.titles} {unit.text}") for name in names):
        return None
    carried = sum(weights[stem] for stem in matched)
    implied = sum(weights[stem] for stem in weights.keys() - matched if stem in passage.stems - unit.stems)
    # A line of two words, most often a heading, says nothing by itself.
    substance = min(1.0, len(unit.stems) / 4) if not unit.cells else 1.0
    score = (carried + 0.3 * implied + 0.8 * passage.similarity) * substance
    return _Candidate(passage.number, unit, matched | passage.titled, score)


def _rarity(wanted: frozenset[str], matches: Sequence[frozenset[str]], known: frozenset[str]) -> dict[str, float]:
    """Each of the question's words that the passages have, by how few of their units carry it; the weights sum to one."""
    counts = Counter(stem for matched in matches for stem in matched)
    raw = {
        stem: math.log(1 + (len(matches) + 1) / (counts[stem] + 0.5))
        for stem in wanted
        if counts[stem] or same_word(stem, known)
    }
    # What the question asks for and nobody has counts as well: a quote of the rest is less of an answer.
    total = sum(raw.values()) + 0.5 * math.log(1 + 2 * (len(matches) + 1)) * (len(wanted) - len(raw))
    return {stem: weight / total for stem, weight in raw.items()} if total else {}


def _rare(matched: frozenset[str], weights: Mapping[str, float]) -> frozenset[str]:
    most = max((weights[stem] for stem in matched), default=0.0)
    return frozenset(stem for stem in matched if weights[stem] >= RARE * most)


def _shorten(sentence: str) -> str:
    if len(sentence) <= MAX_QUOTE_CHARACTERS:
        return sentence
    return sentence[
        : sentence.rfind(" ", 0, MAX_QUOTE_CHARACTERS)
        if " " in sentence[:MAX_QUOTE_CHARACTERS]
        else MAX_QUOTE_CHARACTERS
    ]
