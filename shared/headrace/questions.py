"""What a question asks, by rules that need no model: whether its answer may be shared, and whether two ask the same.

Embeddings put "annual leave" beside "sick leave", and 12 beside 20: nearness alone is no reason to give somebody another
question's answer. What has to agree besides: numbers with their units, dates, names, negation, what kind of answer is
wanted, who does what to whom, and every word that carries meaning, unless the documents do not know it.
The lists are English; in other languages numbers, names and words must agree all the same.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from headrace.question_words import (
    DATE_ROOTS,
    LAST,
    LETTER_A,
    ORDERING,
    RELATING,
    TIMING,
    Word,
    opposites,
    read_word,
    root_of,
)
from headrace.sentences import STOP_WORDS, words

_TIME = re.compile(
    r"\b(?:now|today|tonight|yesterday|tomorrow|currently|at the moment|this (?:morning|week|month|quarter|year|semester)"
    r"|(?:last|next|past|coming) (?:night|week|month|quarter|year|monday|tuesday|wednesday|thursday|friday|saturday|sunday"
    r"|few|couple|\d+)|so far|recent(?:ly)?|latest|newest|up to date|(?:days?|weeks?|months?|years?|hours?) ago"
    r"|what (?:time|day|date) is it|what is the (?:time|date)|right away|these days|still (?:open|valid|available))\b"
)
_PERSONAL = re.compile(
    r"\b(?:who am i|am i|was i|did i|have i|had i|do i have|i've|i'm|i am|i was|i have|about me|for me|to me|tell me my"
    r"|our (?:conversation|chat)|(?:is|are|was|were|has|have|what's|whats|where's|when's) (?:\w+ )?(?:my|mine)"
    r"|(?:what|when|where|which|who|how (?:much|many|long)) (?:\w+ ){0,3}(?:my|mine))\b"
)
_REFERS_BACK = re.compile(
    r"^(?:and|but|also|so|then|what about|how about|why not|why|more|go on|continue|yes|no|ok|okay|thanks?)\b[^\w]*"
    r"(?:\w+[^\w]*){0,3}$|\b(?:you (?:just )?(?:said|mentioned|told|wrote)|your (?:last|previous) (?:answer|reply)"
    r"|(?:the )?(?:above|previous) (?:answer|question|one))\b"
)
_TOKEN = re.compile(r"\d+(?:[.,:/-]\d+)*|[%$€£]|°[cfCF]|\w+(?:['.-]\w+)*")
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
_DOES = frozenset(("do", "does", "did"))
_IS = frozenset("is are was were be been being get gets got".split())
_ASKED = frozenset(("who", "whom", "what", "which"))
_EITHER = re.compile(r"^(?:is|are|was|were|do|does|did|can|could|may|must|should|shall|will|would|has|have|am)\b")
_CAPITAL = re.compile(r"(?<![.!?]\s)(?<!^)\b[A-Z][\w'’-]*|\b[A-Z]{2,}\w*\b|\b\w*[a-z][A-Z]\w*\b|\b\w*\d\w*\b")
_LETTER_A = re.compile(r"(?<![.!?]\s)(?<!^)\bA\b(?!')")
_NEVER_AFTER_ARTICLES = STOP_WORDS - {
    "many",
    "most",
    "more",
    "much",
    "such",
    "may",
    "will",
    "must",
    "show",
    "list",
    "find",
    "say",
}
# Words that are something else in another place.
_CONTEXTUAL = frozenset("a last g h l m s t v w".split())
_BEFORE_NOUNS = frozenset("the my our your their its his her".split())
# Said in many ways, unless the question ends with them.
_LOOSE = frozenset(("by", "with", "for"))
_NEGATING = ("un", "dis", "de", "in", "im", "il", "ir", "non", "mis", "anti")


@dataclass(frozen=True, slots=True)
class Difference:
    """In what words two questions differ: roots that only the one has, and that only the other has; and what they share."""

    left: frozenset[str]
    right: frozenset[str]
    shared: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.left or self.right)


def is_shareable(question: str) -> bool:
    """Whether the answer is the same for everybody, today and tomorrow, and needs no conversation to be understood."""
    text = " ".join(question.casefold().split())
    return not (_TIME.search(text) or _PERSONAL.search(text) or _REFERS_BACK.search(text))


def contradiction(question: str, other: str) -> str:
    """Why the other's answer can't be the question's, in a word; empty when nothing speaks against it.

    Takes questions as they were asked: upper case tells names. A question that wants days is not answered in weeks.
    """
    one, two = _facts(question), _facts(other)
    if one.numbers != two.numbers:
        return "numbers"
    if one.dates != two.dates:
        return "dates"
    if one.negated != two.negated and (_is_negated_otherwise(one, two) or _is_negated_otherwise(two, one)):
        return "negation"
    if one.units and one.units - two.units - {unit for _, unit in two.numbers}:
        return "units"
    if (one.names and one.names - two.words) or (two.names and two.names - one.words):
        return "names"
    if one.kind != two.kind and ((one.kind and two.kind) or "either" in (one.kind, two.kind)):
        return "kind"
    if _are_opposite(one.roots, two.roots):
        return "opposites"
    if _are_timed_otherwise(one.timing, two.timing) or _are_related_otherwise(one.links, two.links):
        return "relations"
    return "order" if _are_swapped(one, two) else ""


def difference(question: str, other: str) -> Difference:
    """The words that carry meaning in the one question and not in the other."""
    one, two = _facts(question).content, _facts(other).content
    left = frozenset(one)
    if one == two:
        return Difference(_NONE, _NONE, left)
    right = frozenset(two)
    return Difference(left - right, right - left, left & right)


def wording(question: str) -> int:
    """64 bits of the words that carry meaning, in whichever order: what equal questions share. 0 when there are none."""
    roots = "\n".join(sorted(set(_facts(question).content)))
    return int.from_bytes(hashlib.blake2b(roots.encode(), digest_size=8).digest(), "big") if roots else 0


def without_typos(apart: Difference, known: Collection[str]) -> Difference:
    """The difference without those words of the left question that nobody knows, and that are a letter off one of the right."""
    typos = {(a, b) for a in apart.left for b in apart.right if a not in known and _is_typo(a, b)}
    left, right = (frozenset(pair[side] for pair in typos) for side in (0, 1))
    return Difference(apart.left - left, apart.right - right, apart.shared | right)


def roots_in(text: str) -> frozenset[str]:
    """The words of a text, as differences name them."""
    return frozenset([root_of(word.removesuffix("'s")) for word in words(text)])


_NONE: frozenset[str] = frozenset()
_NO_NUMBERS: frozenset[tuple[str, str]] = frozenset()
_NO_LINKS: dict[str, str] = {}


class _Facts(NamedTuple):
    """What is compared of a question. Most questions have none of most of it: the empty ones are shared."""

    tokens: Sequence[str]
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
    def words(self) -> frozenset[str]:
        return frozenset(self.tokens) | {token.removesuffix("'s") for token in self.tokens}


@lru_cache(maxsize=1024)
def _facts(question: str) -> _Facts:
    text = question if question.isascii() else _plain(question)
    low = text.casefold()
    tokens = _TOKEN.findall(low)
    read = [read_word(token) for token in tokens]
    if not _CONTEXTUAL.isdisjoint(tokens):
        _see_in_context(text, tokens, read)
    special = [place for place, word in enumerate(read) if word.is_special]
    numbers, units, dates = _NO_NUMBERS, _NONE, _NONE
    negated: tuple[str, ...] = ()
    if special:
        numbers = _numbers(read, special)
        units = frozenset(
            [read[p].unit for p in special if read[p].unit and (len(tokens[p]) > 3 or not tokens[p].isalnum())]
        )
        dates = frozenset([read[p].date for p in special if read[p].date])
        negated = tuple([_next_content(read, p + 1) for p in special if read[p].negates])
    named = not text[1:].islower() or any(read[p].is_code for p in special)
    return _Facts(
        tokens,
        frozenset([word.root for word in read]),
        tuple([word.root for word in read if word.carries_meaning]),
        _kind(low),
        numbers,
        units,
        dates,
        negated,
        _names(text) if named else _NONE,
        _NO_LINKS if RELATING.isdisjoint(tokens) else _links(tokens, read),
        _NONE if TIMING.keys().isdisjoint(tokens) else frozenset(TIMING[t] for t in tokens if t in TIMING),
    )


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("’", "'")


def _names(text: str) -> frozenset[str]:
    found = (name.casefold().removesuffix("'s") for name in _CAPITAL.findall(text) if not name[0].isdigit())
    return frozenset(found) - STOP_WORDS


def _see_in_context(text: str, tokens: Sequence[str], read: list[Word]) -> None:
    """What a word is by where it stands: `from a to b`, `Plan A`, `5 g`, `the last day`."""
    for place, (said, word) in enumerate(zip(tokens, read, strict=True)):
        if said == "a":
            behind = tokens[place + 1] if place + 1 < len(tokens) else "to"
            # No article stands before a preposition.
            if place and behind in _NEVER_AFTER_ARTICLES:
                read[place] = LETTER_A
        elif word.is_letter and word.unit and place and tokens[place - 1][0].isdigit():
            read[place] = Word(word.root, unit=word.unit)
        elif said == "last" and place and tokens[place - 1] in _BEFORE_NOUNS:
            read[place] = LAST
    if " A" in text and _LETTER_A.search(text):
        raw = _TOKEN.findall(text)
        if len(raw) == len(tokens):
            for place, said in enumerate(raw):
                if place and said == "A":
                    read[place] = LETTER_A


def _next_content(read: Sequence[Word], start: int) -> str:
    return next((word.root for word in read[start:] if word.carries_meaning), "")


def _numbers(read: Sequence[Word], special: Sequence[int]) -> frozenset[tuple[str, str]]:
    """Each number with its unit, both in one form: `5 kilometres` is `5km`."""
    found = []
    for place in special:
        word = read[place]
        if word.number:
            near = () if word.is_letter else (*read[place + 1 : place + 2], *read[max(place - 1, 0) : place])
            found.append((word.number, next((other.unit for other in near if other.unit), "")))
    return frozenset(found)


def _kind(low: str) -> str:
    # "Can you tell me why …" asks why.
    found = _KINDS.search(low)
    if found:
        return found.lastgroup or ""
    return "either" if _EITHER.match(low) and not low.startswith(_REQUESTS) else ""


def _links(tokens: Sequence[str], read: Sequence[Word]) -> dict[str, str]:
    """What stands behind each preposition: from where, to whom; `?` at the end, where it is what is asked for."""
    found: dict[str, str] = {}
    for place, token in enumerate(tokens):
        if token in RELATING and token not in found:
            behind = (
                word.root
                for word, other in zip(read[place + 1 :], tokens[place + 1 :], strict=True)
                if word.is_letter or other not in STOP_WORDS
            )
            target = next(behind, "" if place + 1 < len(tokens) else "?")
            if target:
                found[token] = target
    return found


def _are_timed_otherwise(one: frozenset[str], two: frozenset[str]) -> bool:
    return one != two and bool((one and two) or (one | two) & ORDERING)


def _are_related_otherwise(one: Mapping[str, str], two: Mapping[str, str]) -> bool:
    """Whether another word stands behind a preposition; behind a loose one, only whether it is the one asked for."""
    if one == two:
        return False
    pairs = ((link, one[link], target) for link, target in two.items() if link in one)
    return any(a != b and (link not in _LOOSE or "?" in (a, b)) for link, a, b in pairs)


def _is_negated_otherwise(one: _Facts, two: _Facts) -> bool:
    """Another number of negations, or one of a word that the other has as well, but does not negate."""
    if len(one.negated) != len(two.negated):
        return True
    if "" in one.negated or "" in two.negated:
        return False
    return any(word in two.content and word not in two.negated for word in one.negated)


def _are_opposite(one: frozenset[str], two: frozenset[str]) -> bool:
    """Whether the one has a word and the other its opposite: `open` and `closed`, `install` and `uninstall`."""
    if one == two:
        return False
    left, right = one - two, two - one
    if not left or not right:
        return False
    against = opposites()
    for root in left:
        if root in against and not against[root].isdisjoint(right):
            return True
    return _are_negated(left, right) or _are_negated(right, left)


def _are_negated(roots: Iterable[str], others: Collection[str]) -> bool:
    """Whether one of the roots is one of the others with a prefix that negates it."""
    for root in roots:
        if root.startswith(_NEGATING) and any(root.removeprefix(prefix) in others for prefix in _NEGATING):
            return True
    return False


def _are_swapped(one: _Facts, two: _Facts) -> bool:
    """The same words, but who does what to whom is another.

    Either the one asks who did it, and the other whom it was done to; or two words have changed places around others.
    Two beside each other are a way to say it: `the marketing budget`, `the budget of marketing`. Numbers and dates may
    stand anywhere.
    """
    if one.content == two.content and "by" not in one.tokens and "by" not in two.tokens:
        return False
    left, right = (
        [word for word in facts.content if not (word[0].isdigit() or word in DATE_ROOTS)] for facts in (one, two)
    )
    if len(left) != len(right):
        return False
    places = [place for place, (a, b) in enumerate(zip(left, right, strict=True)) if a != b]
    if not places or len(places) == 2:
        roles = {_role(one.tokens), _role(two.tokens)}
        if roles == {"doer", "done by"} or (places and roles == {"doer", "done to"}):
            return sorted(left) == sorted(right)
    return len(places) == 2 and places[1] - places[0] > 1 and sorted(left) == sorted(right)


def _role(tokens: Sequence[str]) -> str:
    """What is asked for: the `doer` (who hired Anna), whom it is `done to` (who did Anna hire), or `done by` whom."""
    place = next((place for place, token in enumerate(tokens) if token in _ASKED), None)
    if place is None or place + 1 >= len(tokens):
        return ""
    if tokens[place] == "which":
        place += 1
    behind = tokens[place + 1 :]
    if not behind:
        return ""
    if "by" in behind and not _IS.isdisjoint(behind):
        # "Who was Anna hired by" asks for the doer.
        return "doer" if behind[-1] == "by" else "done by"
    if behind[0] in _DOES:
        return "done to"
    return "doer" if read_word(behind[0]).carries_meaning else ""


def _is_typo(word: str, other: str) -> bool:
    """One letter more, less, or other, or two changed places, in a longer word without digits."""
    if min(len(word), len(other)) < 5 or abs(len(word) - len(other)) > 1 or not (word + other).isalpha():
        return False
    if len(word) == len(other):
        places = [place for place in range(len(word)) if word[place] != other[place]]
        swapped = len(places) == 2 and places[1] == places[0] + 1 and sorted(word) == sorted(other)
        return len(places) == 1 or swapped
    short, long = sorted((word, other), key=len)
    return any(long[:place] + long[place + 1 :] == short for place in range(len(long)))
