"""Sentences and words, by rules that need no model: where a text may be quoted, and what two texts share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from headrace.text.function_words import FUNCTION_WORDS

# A sentence ends at . ! ? … (and any closing quote or bracket) before white space, at a line's end, or at a full stop of a
# script that has no spaces.
_BOUNDARY = re.compile(r"(?<=[.!?…؟।\u06d4])[\"'”’)\]]*\s+|(?<=[。！？｡])[\"'”’」』\uff09)\]]*\s*|\n+")
# A number that counts on: of a list item, or of a day where it is written so (`bis zum 31. Oktober`).
_ORDINAL = re.compile(
    r"(?:^|\n)\s*\(?\d{1,3}\.$|\b(?:zum|am|vom|bis|dem|den|des|der|im|jeden|ab)\s\d{1,2}\.$", re.IGNORECASE
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|z\.b|etc|cf|ca|bzw|vs|approx|max|mio|mrd|no|nr|fig|dr|mr|mrs|ms|prof|st|inc|ltd|co)|\b[A-Z])\.$",
    re.IGNORECASE,
)
_NOT_WORDS = re.compile(r"[\W_]+")
_WORD = re.compile(r"\w+(?:[.'’-]\w+)*")
# Letters of scripts that are written without spaces between words (Thai, Lao, Burmese, Khmer, Chinese, Japanese), and of
# Korean, whose words grow at their ends; for a character class.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f"
_UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")
# Arabic writes vowels or not, some letters in several forms, and its article, with what stands before it, as one with a word.
# Source: Larkey, Ballesteros and Connell, Light Stemming for Arabic Information Retrieval, 2007 (light8).
_ARABIC_LETTER = re.compile("[\u0621-\u064a]")
_ARABIC_MARKS = re.compile("[\u064b-\u065f\u0670\u0640]")
_ARABIC_FORMS = str.maketrans("أإآٱىةک", "اااايهك")
_ARABIC_ARTICLE = re.compile("\\b(?:[وفبك]?ال|لل)(?=[\u0621-\u064a]{3})")
_RUNS = re.compile(rf"([{UNSPACED}]+)|([^{UNSPACED}]+)")
STOP_WORDS = (
    frozenset(
        """
    a about after all also an and any are as at be been before but by can could did do does for from had has
    have he her his how i if in into is it its many may me more most much must my no not of on or our shall she
    should so some such than that the their them then there these they this to up us was we were what when where
    which who whom whose why will with would you your tell explain describe please give show list find say says
    said get
    """.split()
    )
    | FUNCTION_WORDS
)
_SUFFIXES = (
    "ations",
    "ation",
    "ings",
    "ing",
    "ments",
    "ment",
    "ies",
    "ied",
    "ers",
    "er",
    "ed",
    "es",
    "s",
    "ly",
    "e",
    "y",
)


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """The start and end of each sentence or line, without surrounding white space."""
    start = 0
    for boundary in _BOUNDARY.finditer(text):
        if "\n" not in boundary.group() and _goes_on(text, start, boundary.start()):
            continue
        yield from _span(text, start, boundary.end())
        start = boundary.end()
    yield from _span(text, start, len(text))


def _goes_on(text: str, start: int, stop: int) -> bool:
    """Whether the full stop before that place ends no sentence."""
    return (
        _ABBREVIATION.search(text, start, stop) is not None
        or _ORDINAL.search(text[max(start, stop - 16) : stop]) is not None
    )


def _span(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    piece = text[start:end]
    if piece.strip():
        yield start + len(piece) - len(piece.lstrip()), end - (len(piece) - len(piece.rstrip()))


def words(text: str) -> list[str]:
    """The words of a text in order, lower case; of a script without spaces, every two letters that stand together.

    Pairs of letters find what a dictionary's words would, in any of these languages.
    Source: Lucene's CJKAnalyzer.
    """
    if text.isascii():
        return _WORD.findall(text.casefold())
    if _ARABIC_LETTER.search(text):
        text = _ARABIC_MARKS.sub("", text.translate(_ARABIC_FORMS))
        text = _ARABIC_ARTICLE.sub("", text)
    found: list[str] = _WORD.findall(text.casefold())
    if _UNSPACED_LETTER.search(text) is None:
        return found
    return [piece for word in found for piece in _pieces(word)]


def _pieces(word: str) -> Iterator[str]:
    for run, spaced in _RUNS.findall(word):
        if spaced:
            yield spaced
        else:
            yield from (run[start : start + 2] for start in range(max(len(run) - 1, 1)))


def plain_words(text: str) -> str:
    """The text as its words alone, in lower case with one space between them, for looking for one text in another."""
    return _NOT_WORDS.sub(" ", text.casefold()).strip()


def content_stems(text: str) -> frozenset[str]:
    """The stems of the words that carry meaning: what a question and an answer to it are likely to share."""
    return frozenset(stem(word) for word in words(text) if word not in STOP_WORDS)


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """The word without its ending: `leaves`, `leaving` and `leave` are one. A rule of thumb for English; others stay."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3 and word.isalpha():
            return word[: -len(suffix)]
    return word
