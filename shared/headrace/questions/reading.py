"""A question, read: what has to agree with another one that asks the same. Numbers, names, dates, negation, relations."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from headrace.questions.order import Number, Piece, in_order, numbers_in_order
from headrace.questions.words import LAST, LETTER_A, MAY, TIMING, USED, Word, read_word
from headrace.sentences import STOP_WORDS

# A sign belongs to its number: `-20`, `> 5`, `5+`.
_TOKEN = re.compile(
    r"[^\W\d]\w*(?:['.-]\w+)*|(?:(?<![\w)])[-+]|[<>≤≥]\s?)?\d+(?:[.,:/-]\d+)*(?:\+(?!\w))?|[%$€£]|°[cfCF]|[,:;](?=\s)"
)
_CUTS = frozenset(",:;")
# What kind of answer is wanted. A question that names none may have any.
_KINDS = re.compile(
    r"\b(?=[bfhrw])(?:(?P<reason>why|how come|what for|for what reason|reason)|(?P<duration>how (?:long|soon|quickly|fast))"
    r"|(?P<frequency>how (?:often|frequently))"
    r"|(?P<amount>how (?:much|many|big|large|high|deep|far|heavy|old|wide|thick|hot|cold))|(?P<person>who|whom|whose)"
    r"|(?P<time>when|what (?:time|date|day|month|year)|by which date|which (?:day|month|year))"
    r"|(?P<place>where|what (?:place|location)|which (?:place|room|building|floor))"
    r"|(?P<manner>how (?:do|does|can|could|should|would|to|is|are|must|may|did)))\b"
)
_REQUESTS = ("can you ", "could you ", "would you ", "will you ")
_EITHER = re.compile(r"^(?:is|are|was|were|do|does|did|can|could|may|must|should|shall|will|would|has|have|am)\b")
_CAPITAL = re.compile(r"(?<![.!?]\s)(?<!^)(?<!°)\b[A-Z][\w'’-]*|\b[A-Z]{2,}\w*\b|\b\w*[a-z][A-Z]\w*\b|\b\w*\d\w*\b")
_LETTER_A = re.compile(r"(?<![.!?]\s)(?<!^)\bA\b(?!'|\s+[A-Z])")
# What stands behind one of these is in a relation; at the end of a question, or before who or which, what is asked for.
_RELATING = frozenset("from to before after than into under between".split())
_ASKED_AT_THE_END = frozenset(("from", "to"))
_ASKING = frozenset(("who", "whom", "what", "which", "how", "where"))
# No article stands before one of these.
_NEVER_AFTER_ARTICLES = STOP_WORDS - frozenset("many most more much such may will must show list find say".split())
# Words that are something else in another place.
_CONTEXTUAL = frozenset("a last used may g h l m s t v w".split())
_BEFORE_NOUNS = frozenset("the my our your their its his her".split())
_BEFORE_MONTHS = frozenset("in from to until till since by of before after during and".split())
_LONG = 400
_NONE: frozenset[str] = frozenset()
_NO_NUMBERS: frozenset[tuple[str, str]] = frozenset()
_NO_LINKS: dict[str, str] = {}


class Reading(NamedTuple):
    """What is compared of a question. Most questions have none of most of it: the empty ones are shared."""

    tokens: Sequence[str]
    words: Sequence[Word]
    # Who does what to whom.
    order: tuple[Piece, ...]
    roots: frozenset[str]
    content: tuple[str, ...]
    kind: str
    numbers: frozenset[tuple[str, str]]
    units: frozenset[str]
    dates: frozenset[str]
    # The word that each negation is of; empty for one of nothing.
    negated: tuple[str, ...]
    names: frozenset[str]
    links: dict[str, str]
    timing: frozenset[str]

    @property
    def mentioned(self) -> frozenset[str]:
        """All that is said, to look for names."""
        return frozenset(self.tokens) | {token.removesuffix("'s") for token in self.tokens} | self.names

    def numbers_in_order(self) -> tuple[Number, ...]:
        """The numbers and dates, with what they stand beside."""
        return numbers_in_order(self.tokens, self.words)


def read(question: str) -> Reading:
    """What the question says."""
    # A long one is read each time: a thousand of them would take a hundred megabytes.
    return _read(question) if len(question) <= _LONG else _read.__wrapped__(question)


@lru_cache(maxsize=512)
def _read(question: str) -> Reading:
    text = " ".join((question if question.isascii() else _plain(question)).split())
    low = text.casefold()
    tokens, cuts = _tokens(low)
    words = [read_word(token) for token in tokens]
    if not _CONTEXTUAL.isdisjoint(tokens):
        _see_in_context(text, tokens, words)
    special = [place for place, word in enumerate(words) if word.is_special]
    numbers, units, dates = _NO_NUMBERS, _NONE, _NONE
    negated: tuple[str, ...] = ()
    if special:
        numbers = _numbers(words, special)
        units = frozenset(
            [words[p].unit for p in special if words[p].unit and (len(tokens[p]) > 3 or not tokens[p].isalnum())]
        )
        dates = frozenset([words[p].date for p in special if words[p].date])
        negated = tuple([_next_content(words, p + 1) for p in special if words[p].negates])
    named = not text[1:].islower() or any(words[p].is_code for p in special)
    return Reading(
        tokens,
        words,
        in_order(tokens, words, cuts),
        frozenset([word.root for word in words]),
        tuple([word.root for word in words if word.carries_meaning]),
        _kind(low),
        numbers,
        units,
        dates,
        negated,
        _names(text) if named else _NONE,
        _NO_LINKS if _RELATING.isdisjoint(tokens) else _links(tokens, words),
        _NONE if TIMING.keys().isdisjoint(tokens) else frozenset(TIMING[t] for t in tokens if t in TIMING),
    )


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("’", "'").replace("\u2212", "-")


def _tokens(text: str) -> tuple[list[str], Sequence[int]]:
    found = _TOKEN.findall(text)
    if _CUTS.isdisjoint(found):
        return found, ()
    tokens: list[str] = []
    cuts = []
    for token in found:
        if token in _CUTS:
            cuts.append(len(tokens))
        else:
            tokens.append(token)
    return tokens, cuts


def _names(text: str) -> frozenset[str]:
    found = (name.casefold().removesuffix("'s") for name in _CAPITAL.findall(text) if not name[0].isdigit())
    return frozenset(found) - STOP_WORDS


def _see_in_context(text: str, tokens: Sequence[str], words: list[Word]) -> None:
    """What a word is by where it stands: `from a to b`, `Plan A`, `5 g`, `the last day`, `used oil`, `in May`."""
    for place, (said, word) in enumerate(zip(tokens, words, strict=True)):
        before = tokens[place - 1] if place else ""
        behind = tokens[place + 1] if place + 1 < len(tokens) else ""
        if said == "a":
            if place and (not behind or behind in _NEVER_AFTER_ARTICLES):
                words[place] = LETTER_A
        elif word.is_letter and word.unit and before[:1].isdigit():
            words[place] = Word(word.root, is_special=True, unit=word.unit)
        elif said == "last" and before in _BEFORE_NOUNS:
            words[place] = LAST
        elif said == "used" and behind and words[place + 1].carries_meaning and words[place - 1].carries_meaning:
            words[place] = USED
        elif said == "may" and before in _BEFORE_MONTHS:
            words[place] = MAY
    if " A" in text and _LETTER_A.search(text):
        raw, _ = _tokens(text)
        for place, said in enumerate(raw):
            if place and said == "A":
                is_unit = raw[place - 1][0].isdigit()
                words[place] = Word("a", is_special=True, unit="a") if is_unit else LETTER_A


def _next_content(words: Sequence[Word], start: int) -> str:
    return next((word.root for word in words[start:] if word.carries_meaning), "")


def _numbers(words: Sequence[Word], special: Sequence[int]) -> frozenset[tuple[str, str]]:
    """Each number with its unit, both in one form: `5 kilometres` is `5km`."""
    found = []
    for place in special:
        word = words[place]
        if word.number:
            near = () if word.is_letter else (*words[place + 1 : place + 2], *words[max(place - 1, 0) : place])
            found.append((word.number, next((other.unit for other in near if other.unit), "")))
    return frozenset(found)


def _kind(low: str) -> str:
    # "Can you tell me why …" asks why.
    found = _KINDS.search(low)
    if found:
        return found.lastgroup or ""
    return "either" if _EITHER.match(low) and not low.startswith(_REQUESTS) else ""


def _links(tokens: Sequence[str], words: Sequence[Word]) -> dict[str, str]:
    """What stands behind each preposition: from where, to whom; `?` where that is what is asked for."""
    found: dict[str, str] = {}
    for place, token in enumerate(tokens):
        if token not in _RELATING or token in found:
            continue
        if token in _ASKED_AT_THE_END and (place + 1 == len(tokens) or tokens[place + 1] in _ASKING):
            found[token] = "?"
            continue
        for word, other in zip(words[place + 1 :], tokens[place + 1 :], strict=True):
            if word.is_letter or word.date or other not in STOP_WORDS:
                found[token] = word.root
                break
    return found
