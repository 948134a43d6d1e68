"""Where the values of an answer that is JSON come from: a sentence of a passage each, or a doubt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cached_property
from typing import Any

from headrace.answering.citations import best_quote
from headrace.answering.verification import Verifier
from headrace.text.figures import figures_of
from headrace.text.sentences import content_stems, plain_words, sentence_spans
from headrace.types import Citation, Doubt, Passage, Unsupported

# A text of which a sentence has so much of the words that carry meaning is taken from it.
ENOUGH = 0.6


def attributed(value: Any, passages: Sequence[Passage], question: str) -> Iterator[Citation | Unsupported | None]:
    """For each text and number in the value, by its JSON pointer: what bears it out, or why nothing does.

    Of what is neither to be found nor to be doubted (a label that the schema gave, a yes) nothing is said: None.
    """
    sources = _Sources(passages, question)
    for path, leaf in _leaves(value, ""):
        yield sources.of_text(path, leaf) if isinstance(leaf, str) else sources.of_number(path, leaf)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str | int | float]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(each, f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _leaves(each, f"{path}/{place}")
    elif isinstance(value, str | int | float) and not isinstance(value, bool) and value != "":
        yield path, value


class _Sources:
    """The passages of one answer, looked through once for all of its values."""

    def __init__(self, passages: Sequence[Passage], question: str) -> None:
        self._passages = passages
        self._question = question
        self._verifier = Verifier(passages, question)

    @cached_property
    def _figures(self) -> list[tuple[Citation, frozenset[Decimal | str]]]:
        """Each sentence that has figures, as a citation of it, with their values."""
        found = []
        for number, passage in enumerate(self._passages, 1):
            text = passage.chunk.text
            for start, end in sentence_spans(text):
                values = frozenset(
                    value for figure in figures_of(text[start:end], parts=True) for value in figure.values
                )
                if values:
                    found.append((Citation(number, passage.chunk, text[start:end], start, end), values))
        return found

    @cached_property
    def _asked(self) -> frozenset[Decimal | str]:
        return frozenset(value for figure in figures_of(self._question, parts=True) for value in figure.values)

    def of_number(self, path: str, given: float) -> Citation | Unsupported | None:
        """The first of the sentences that have the number and most of what is asked for."""
        wanted, near = Decimal(str(given)), content_stems(f"{path} {self._question}")
        having = [citation for citation, values in self._figures if wanted in values]
        if having:
            return replace(max(having, key=lambda each: len(near & content_stems(each.quote))), path=path)
        return None if wanted in self._asked else Unsupported(path, Doubt.NUMBER, str(given))

    def of_text(self, path: str, text: str) -> Citation | Unsupported | None:
        """The sentence that has the text, or most of its words."""
        doubt = next(self._verifier.unsupported(text), None)
        if doubt is not None:
            return Unsupported(path, doubt.doubt, doubt.words)
        said, stems = plain_words(text), content_stems(text)
        best: tuple[float, Citation | None] = (0.0, None)
        for number, passage in enumerate(self._passages, 1):
            start, end = best_quote(text, passage.chunk)
            sentence = passage.chunk.text[start:end]
            share = len(stems & content_stems(sentence)) / (len(stems) or 1)
            if said and said in plain_words(sentence):
                share = 2.0
            if share >= ENOUGH and share > best[0]:
                best = share, Citation(number, passage.chunk, sentence, start, end, path)
        return best[1]
