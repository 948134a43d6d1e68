"""Where the values of an answer that is JSON come from: a sentence of a passage each, or a doubt."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from headrace.answering.citations import best_quote
from headrace.answering.verification import unsupported
from headrace.text.figures import figures_of
from headrace.text.sentences import content_stems, sentence_spans
from headrace.types import Citation, Doubt, Passage, Unsupported

# A text of which a sentence has so much of the words that carry meaning is taken from it.
ENOUGH = 0.6
_NOT_WORDS = re.compile(r"[\W_]+")


def attributed(value: Any, passages: Sequence[Passage], question: str) -> Iterator[Citation | Unsupported]:
    """For each text and number in the value, by its JSON pointer: what bears it out, or why nothing does.

    Of what is neither to be found nor to be doubted (a label that the schema gave, a yes) nothing is said.
    """
    asked = {number for figure in figures_of(question, parts=True) for number in figure.values}
    for path, leaf in _leaves(value, ""):
        if isinstance(leaf, str):
            yield from _of_text(path, leaf, passages, question)
        else:
            wanted = Decimal(str(leaf))
            citation = _of_number(path, wanted, passages, question)
            if citation is not None:
                yield citation
            elif wanted not in asked:
                yield Unsupported(path, Doubt.NUMBER, str(leaf))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str | int | float]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(each, f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _leaves(each, f"{path}/{place}")
    elif isinstance(value, str | int | float) and not isinstance(value, bool) and value != "":
        yield path, value


def _of_number(path: str, wanted: Decimal, passages: Sequence[Passage], question: str) -> Citation | None:
    """The sentence that has the number, and most of what is asked for."""
    near = content_stems(f"{path} {question}")
    best: tuple[int, Citation] | None = None
    for number, passage in enumerate(passages, 1):
        text = passage.chunk.text
        for start, end in sentence_spans(text):
            sentence = text[start:end]
            if any(wanted in figure.values for figure in figures_of(sentence, parts=True)):
                shared = len(near & content_stems(sentence))
                if best is None or shared > best[0]:
                    best = shared, Citation(number, passage.chunk, sentence, start, end, path)
    return best[1] if best else None


def _of_text(path: str, text: str, passages: Sequence[Passage], question: str) -> Iterator[Citation | Unsupported]:
    doubts = [Unsupported(path, each.doubt, each.words) for each in unsupported(text, passages, question)]
    if doubts:
        yield doubts[0]
        return
    said, stems = _plain(text), content_stems(text)
    best: tuple[float, Citation] | None = None
    for number, passage in enumerate(passages, 1):
        start, end = best_quote(text, passage.chunk)
        sentence = passage.chunk.text[start:end]
        share = len(stems & content_stems(sentence)) / (len(stems) or 1)
        if said and said in _plain(sentence):
            share = 2.0
        if share >= ENOUGH and (best is None or share > best[0]):
            best = share, Citation(number, passage.chunk, sentence, start, end, path)
    if best is not None:
        yield best[1]


def _plain(text: str) -> str:
    return _NOT_WORDS.sub(" ", text.casefold()).strip()
