"""Whether two questions ask the same, by rules that need no model.

Embeddings put "annual leave" beside "sick leave", and 12 beside 20: nearness alone is no reason to give somebody another
question's answer. What has to agree besides: numbers with their units, dates, names, negation, what kind of answer is
wanted, who does what to whom, and every word that carries meaning, unless the documents do not know it.
The lists are English; in other languages numbers, names and words must agree all the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from headrace.questions.order import are_numbers_swapped, are_swapped
from headrace.questions.reading import Reading, read
from headrace.questions.words import ORDERING, opposites, root_of
from headrace.sentences import words

_NEGATING = ("un", "dis", "de", "in", "im", "il", "ir", "non", "mis", "anti")


@dataclass(frozen=True, slots=True)
class Difference:
    """In what words two questions differ: roots that only the one has, and that only the other has; and what they share."""

    left: frozenset[str]
    right: frozenset[str]
    shared: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.left or self.right)


def contradiction(question: str, other: str) -> str:
    """Why the other's answer can't be the question's, in a word; empty when nothing speaks against it.

    Takes questions as they were asked: upper case tells names. A question that wants days is not answered in weeks.
    """
    one, two = read(question), read(other)
    if one.numbers != two.numbers:
        return "numbers"
    if one.dates != two.dates:
        return "dates"
    if one.negated != two.negated and (_is_negated_otherwise(one, two) or _is_negated_otherwise(two, one)):
        return "negation"
    if one.units and one.units - two.units - {unit for _, unit in two.numbers}:
        return "units"
    if (one.names and one.names - two.mentioned) or (two.names and two.names - one.mentioned):
        return "names"
    if one.kind != two.kind and ((one.kind and two.kind) or "either" in (one.kind, two.kind)):
        return "kind"
    if _are_opposite(one.roots, two.roots):
        return "opposites"
    if _are_timed_otherwise(one.timing, two.timing) or _are_related_otherwise(one.links, two.links):
        return "relations"
    if len(one.numbers) + len(one.dates) + len(one.names) > 1 and are_numbers_swapped(
        one.numbers_in_order(), two.numbers_in_order()
    ):
        return "order"
    return "order" if are_swapped(one.order, two.order) else ""


def difference(question: str, other: str) -> Difference:
    """The words that carry meaning in the one question and not in the other."""
    one, two = read(question).content, read(other).content
    left = frozenset(one)
    if one == two:
        return Difference(frozenset(), frozenset(), left)
    right = frozenset(two)
    return Difference(left - right, right - left, left & right)


def wording(question: str) -> int:
    """64 bits of all that has to agree: two questions that have them in common differ in words of asking at most.

    0 where no word carries meaning.
    """
    reading = read(question)
    if not reading.content:
        return 0
    against = opposites()
    parts = (
        reading.content,
        (reading.kind,),
        [piece.root for piece in reading.order],
        [f"{number} {unit}" for number, unit in sorted(reading.numbers)] if reading.numbers else (),
        sorted(reading.units),
        [f"not {word}" for word in reading.negated],
        sorted(reading.names),
        [f"{link} {target}" for link, target in sorted(reading.links.items())] if reading.links else (),
        sorted(reading.timing),
        sorted([root for root in reading.roots if root in against]),
    )
    text = "\x1e".join(["\x1f".join(part) for part in parts])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def without_typos(apart: Difference, known: Collection[str]) -> Difference:
    """The difference without those words of the left question that nobody knows, and that are a letter off one of the right."""
    typos = {(a, b) for a in apart.left for b in apart.right if a not in known and _is_typo(a, b)}
    left, right = (frozenset(pair[side] for pair in typos) for side in (0, 1))
    return Difference(apart.left - left, apart.right - right, apart.shared | right)


def roots_in(text: str) -> frozenset[str]:
    """The words of a text, as differences name them."""
    return frozenset([root_of(word.removesuffix("'s")) for word in words(text)])


def _is_negated_otherwise(one: Reading, two: Reading) -> bool:
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


def _are_timed_otherwise(one: frozenset[str], two: frozenset[str]) -> bool:
    return one != two and bool((one and two) or (one | two) & ORDERING)


def _are_related_otherwise(one: Mapping[str, str], two: Mapping[str, str]) -> bool:
    return one != two and any(one.get(link, target) != target for link, target in two.items())


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
