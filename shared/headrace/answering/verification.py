"""Whether an answer says what its passages say: its numbers, their units, and its quotations, sentence by sentence.

What is found is said, not mended: who reads decides. Numbers that the question names may stand in any sentence; a number
that a model has reckoned is in no passage, and is flagged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property

from headrace.text.figures import Figure, figures_of
from headrace.text.sentences import plain_words, sentence_spans
from headrace.types import Doubt, Passage, Unsupported

_MARKERS = re.compile(r"\[(\d{1,3})\]")
# A marker behind the full stop belongs to the sentence before.
_LATE_MARKERS = re.compile(r"([.!?…。！？])((?:\s*\[\d{1,3}\])+)")
_ITEM = re.compile(r"^\s*(?:\d{1,3}[.)]|[-*•])\s+")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_QUOTATION = re.compile(r"[“„«\"]([^“”„«»\"\n]{8,})[”“»\"]")
_GAP = re.compile(r"\s*(?:\.\.\.|…|\[…\]|\[\.\.\.\])\s*")
_SET_ASIDE = {ord(mark): "\ue000" for mark in ".!?…。！？\n"}


def unsupported(
    answer: str, passages: Sequence[Passage], question: str, results: Sequence[str] = ()
) -> Iterator[Unsupported]:
    """The sentences that the passages do not bear out, nor the `results` of tools, each with its first doubt."""
    return Verifier(passages, question, results).unsupported(answer)


class Verifier:
    """Holds texts against the same passages: these are looked through once, and only when something is looked for."""

    def __init__(self, passages: Sequence[Passage], question: str, results: Sequence[str] = ()) -> None:
        self._texts = [_Text(f"{each.chunk.text_to_embed}\n{each.chunk.place}\n{each.context}") for each in passages]
        # What a tool told can't be cited, and may bear out any sentence.
        self._results = [_Text(result) for result in results]
        self._asked = _Asked(question)

    def unsupported(self, answer: str) -> Iterator[Unsupported]:
        """The sentences that the passages do not bear out, each with its first doubt."""
        yield from _unsupported(answer, self._texts, self._results, self._asked)


def _unsupported(answer: str, texts: Sequence[_Text], results: Sequence[_Text], asked: _Asked) -> Iterator[Unsupported]:
    plain = _LATE_MARKERS.sub(lambda found: f"{found.group(2)}{found.group(1)}", _CODE.sub(" ", answer))
    # What ends a sentence within a quotation does not end the one that it stands in.
    whole = _QUOTATION.sub(lambda found: found.group().translate(_SET_ASIDE), plain)
    for start, end in sentence_spans(whole):
        sentence = plain[start:end]
        cited = [texts[number - 1] for number in map(int, _MARKERS.findall(sentence)) if number <= len(texts)]
        near = [*(cited or texts), *results]
        doubt = _doubt(_ITEM.sub("", _MARKERS.sub("", sentence)), near, texts, asked)
        if doubt is not None:
            yield Unsupported(sentence, *doubt)


def _doubt(sentence: str, near: Sequence[_Text], texts: Sequence[_Text], asked: _Asked) -> tuple[Doubt, str] | None:
    """What is wrong with the sentence, and with which of its words, if only texts that are `near` may bear it out."""
    for quotation in _QUOTATION.findall(sentence):
        parts = [part for part in map(plain_words, _GAP.split(quotation)) if part]
        if not asked.says(parts) and not any(text.says(parts) for text in near):
            is_elsewhere = any(text.says(parts) for text in texts)
            return Doubt.MISATTRIBUTED if is_elsewhere else Doubt.QUOTATION, quotation
    for figure in figures_of(sentence):
        # In words, only what counts something: "one" and "drei" are many things.
        if (figure.is_word and (not figure.unit or figure.may_be_an_article)) or asked.names(figure):
            continue
        alike = [other for text in near for other in text.figures if other.values & figure.values]
        if not alike:
            is_elsewhere = any(other.values & figure.values for text in texts for other in text.figures)
            return Doubt.MISATTRIBUTED if is_elsewhere else Doubt.NUMBER, figure.text
        if figure.unit and not any(other.unit in {"", figure.unit} for other in alike):
            return Doubt.UNIT, figure.text
    return None


class _Words:
    """The words of a text, for looking for others in them."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def _words(self) -> str:
        # Most answers quote nothing, and many have no figure: passages are looked through when something is looked for.
        return plain_words(self._text)

    def says(self, parts: Sequence[str]) -> bool:
        """Whether it has these words, part after part."""
        place = 0
        for part in parts:
            place = self._words.find(part, place)
            if place < 0:
                return False
        return True


class _Text(_Words):
    """What a passage says, its place included, or a tool."""

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        return tuple(figures_of(self._text, parts=True))


class _Asked(_Words):
    """What the question says, which an answer may repeat."""

    def __init__(self, question: str) -> None:
        super().__init__(question)
        self._figures = [each for each in figures_of(question, parts=True) if not each.may_be_an_article]

    def names(self, figure: Figure) -> bool:
        """Whether it has the figure, with no other unit."""
        return any(other.values & figure.values and other.unit in {"", figure.unit} for other in self._figures)
