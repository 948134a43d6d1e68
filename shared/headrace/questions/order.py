"""Who does what to whom: the words of a question in the order of `somebody does something to somebody`.

`Who did Anna hire?` and `Who was hired by Anna?` are `anna hire ?`; `Who hired Anna?` is `? hire anna`. Words may change
places where that is a way to say the same: `the marketing budget`, `the budget of marketing`. English.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import NamedTuple

from headrace.questions.words import Word

ASKED_FOR = "?"
_ASKED = frozenset(("who", "whom", "what", "which"))
_DOES = frozenset(("do", "does", "did"))
_IS = frozenset("is are was were be been being get gets got".split())
_AUXILIARIES = _DOES | _IS | frozenset("can could may might must shall should will would has have had".split())
# What a noun or a subject begins with.
_DETERMINERS = frozenset(
    "the a an i we you they he she it one my our your their its his her this that these those any each every".split()
)
_PREPOSITIONS = frozenset(
    """of for in on at from to about with by into over under between before after during since until than per within
    regarding concerning without if when while because once whenever although""".split()
)
_PARTICIPLES = frozenset(
    """paid made sent kept held built sold bought put set reset told found lost left brought taught cut read shut split spent
    given taken written chosen spoken broken driven eaten forgotten hidden shown grown drawn thrown worn stolen frozen
    done seen known begun run won met fed led shot dealt meant""".split()
)
_NO_PARTICIPLES = frozenset("hundred embed shed need".split())
# How far behind `which` its noun may reach.
_NOUN_WORDS = 5
# Longer texts say the same in the same order only.
_MOST_PIECES = 40

_Placed = tuple[int, "Piece"]


class Piece(NamedTuple):
    """A word, and how it is joined to the one before: by a preposition, `'s`, `and` or nothing, and whether behind a comma."""

    root: str
    junction: str = ""
    is_cut: bool = False

    @property
    def is_attached(self) -> bool:
        """Whether it stands behind a preposition, or behind `if`."""
        return self.junction in _PREPOSITIONS


def in_order(tokens: Sequence[str], words: Sequence[Word], cuts: Collection[int]) -> tuple[Piece, ...]:
    """The words that carry meaning, but for numbers, units, dates and codes, which may stand anywhere.

    `cuts`: before which tokens a comma stands. Nothing where a question has a form that this does not know.
    """
    if not any(map(_is_plain, words)):
        return ()
    pieces = _pieces(tokens, words, cuts)
    tokens = [_without_not(said) for said in tokens]
    asked, start = _asked(tokens)
    by = max((place for place, said in enumerate(tokens) if said == "by"), default=-1)
    is_ = next((place for place, token in enumerate(tokens) if token in _IS), None)
    if asked is not None and asked == by + 1 and by >= 0:
        # By whom is it approved, it is approved by whom.
        said = [piece for place, piece in pieces if place != asked]
        return (Piece(ASKED_FOR), *said[-1:], *said[:-1])
    if is_ is not None and by > is_:
        return _active(tokens, pieces, by, asked)
    if asked is None:
        return tuple(_verb_first(tokens, pieces))
    return _asking(tokens, pieces, asked, start, cuts)


def _pieces(tokens: Sequence[str], words: Sequence[Word], cuts: Collection[int]) -> list[_Placed]:
    found: list[_Placed] = []
    before = -1
    for place, word in enumerate(words):
        if not _is_plain(word) or tokens[place] in _PREPOSITIONS:
            continue
        between = tokens[before + 1 : place]
        junction = next((said for said in between if said in _PREPOSITIONS), "")
        if found and not junction:
            junction = "and" if "and" in between or "or" in between else ""
            junction = "'s" if tokens[place - 1].endswith(("'s", "s'")) else junction
        is_cut = bool(found) and any(before < cut <= place for cut in cuts)
        found.append((place, Piece(word.root, junction, is_cut)))
        before = place
    return found


def _without_not(said: str) -> str:
    """`aren't` and `arent` as `are`."""
    for ending in ("n't", "nt"):
        if said.endswith(ending) and said.removesuffix(ending) in _AUXILIARIES:
            return said.removesuffix(ending)
    return {"can't": "can", "cant": "can", "cannot": "can", "won't": "will", "wont": "will"}.get(said, said)


def _asked(tokens: Sequence[str]) -> tuple[int | None, int]:
    """Where the word that asks stands, and where its noun begins."""
    for place, said in enumerate(tokens):
        if said.removesuffix("'s") in _ASKED:
            return place, place + 1
        if said == "how" and place + 1 < len(tokens) and tokens[place + 1] in {"many", "much"}:
            return place, place + 2
    return None, 0


def _asked_piece(place: int, cuts: Collection[int]) -> Piece:
    return Piece(ASKED_FOR, is_cut=place in cuts)


def _active(tokens: Sequence[str], pieces: Sequence[_Placed], by: int, asked: int | None) -> tuple[Piece, ...]:
    """`B is done by A`, as `A does B`."""
    end = next((place for place in range(by + 1, len(tokens)) if tokens[place] in _PREPOSITIONS), len(tokens))
    said = [piece for place, piece in pieces if place < by]
    agent = [piece for place, piece in pieces if by < place < end] or [Piece(ASKED_FOR)]
    agent[0] = Piece(agent[0].root)
    rest = [piece for place, piece in pieces if place >= end]
    verb, patient = said[-1:], said[:-1]
    if asked is not None and not patient and agent[0].root != ASKED_FOR:
        patient = [Piece(ASKED_FOR)]
    return (*agent, *verb, *patient, *rest)


def _verb_first(tokens: Sequence[str], pieces: Sequence[_Placed]) -> list[Piece]:
    """`How is the alarm reset` as `reset the alarm`, where it is not said who does it."""
    is_ = next((place for place, said in enumerate(tokens) if said in _IS), len(tokens))
    verb = next((at for at, (place, _) in enumerate(pieces) if place > is_ and _is_participle(tokens[place])), None)
    said = [piece for _, piece in pieces]
    if verb is None:
        return said
    auxiliary = next(place for place, word in enumerate(tokens) if word in _AUXILIARIES)
    begin = next(at for at, (place, _) in enumerate(pieces) if place > auxiliary)
    if begin == verb:
        # The subject stands before: the alarm is reset.
        begin = max((at for at in range(verb) if said[at].is_cut), default=0)
    return [*said[:begin], said[verb], *said[begin:verb], *said[verb + 1 :]]


def _is_participle(said: str) -> bool:
    return (said.endswith("ed") and not said.endswith("eed") and said not in _NO_PARTICIPLES) or said in _PARTICIPLES


def _asking(
    tokens: Sequence[str], pieces: Sequence[_Placed], asked: int, start: int, cuts: Collection[int]
) -> tuple[Piece, ...]:
    """A question with who, what, which: what is asked for stands where its answer would."""
    said = [piece for _, piece in pieces]
    reach = start if tokens[asked] in {"who", "whom"} else start + _NOUN_WORDS
    auxiliary = next(
        (place for place in range(start, min(reach + 1, len(tokens))) if tokens[place] in _AUXILIARIES), None
    )
    if auxiliary is None:
        is_verb = start < len(tokens) and any(place == start for place, _ in pieces)
        if tokens[asked] in {"who", "whom"} and is_verb:
            before = sum(place < asked for place, _ in pieces)
            return (*said[:before], _asked_piece(asked, cuts), *said[before:])
        return tuple(said)
    noun = [piece for place, piece in pieces if start <= place < auxiliary]
    before_it = [piece for place, piece in pieces if place < asked]
    after = [(place, piece) for place, piece in pieces if place > auxiliary]
    if asked and tokens[asked - 1] in _PREPOSITIONS:
        # At what time, under which number: it is not who does it, nor what it is done to.
        return (*before_it, *_verb_first(tokens, after), *(Piece(piece.root, tokens[asked - 1]) for piece in noun))
    target = [Piece(noun[0].root), *noun[1:]] if noun else [_asked_piece(asked, cuts)]
    if _is_done_to(tokens, auxiliary):
        behind = _verb_first(tokens, after)
        # Before what only says when, where and what for.
        end = next((place for place, piece in enumerate(behind) if piece.is_attached), len(behind))
        return (*before_it, *behind[:end], *target, *behind[end:])
    if noun and len(after) == 1 and tokens[auxiliary] not in _IS:
        # How many weeks may parents take: who does it, or is it done to, the one word does not tell.
        return ()
    if tokens[auxiliary] in _IS:
        return () if noun else tuple(said)
    return (*before_it, *target, *(piece for _, piece in after))


def _is_done_to(tokens: Sequence[str], auxiliary: int) -> bool:
    """Whether what is asked for is what something is done to: `who did Anna …`, `who may the …`, `which is paid`."""
    is_passive, place = tokens[auxiliary] in _IS, auxiliary + 1
    while place < len(tokens) and tokens[place] in {"to", "be", "been", "not", "being"}:
        is_passive, place = is_passive or tokens[place] != "to", place + 1
    behind = tokens[place] if place < len(tokens) else ""
    if is_passive:
        return _is_participle(behind)
    return tokens[auxiliary] in _DOES or (place == auxiliary + 1 and behind in _DETERMINERS)


def are_swapped(one: Sequence[Piece], two: Sequence[Piece]) -> bool:
    """Whether the words that both have stand in orders that do not mean the same."""
    roots = {piece.root for piece in one} & {piece.root for piece in two}
    left, right = ([piece for piece in pieces if piece.root in roots] for pieces in (one, two))
    if not _are_the_same(left, right) or [piece.root for piece in left] == [piece.root for piece in right]:
        return False
    return _is_exchanged(left, right) or not _says_the_same(left, right)


def _is_exchanged(left: Sequence[Piece], right: Sequence[Piece]) -> bool:
    """Whether one word stands behind a preposition only in the one, another only in the other: tea with milk, milk with tea."""
    there = {piece.root: piece.is_attached for piece in right}
    changes = {(piece.is_attached, there[piece.root]) for piece in left}
    return (True, False) in changes and (False, True) in changes


def _says_the_same(left: Sequence[Piece], right: Sequence[Piece]) -> bool:
    """Whether the one order comes of the other by blocks that change places, each as it may."""
    if [piece.root for piece in left] == [piece.root for piece in right]:
        return True
    if len(left) > _MOST_PIECES:
        return False
    for place in range(1, len(left)):
        other = len(left) - place
        if _are_the_same(left[:place], right[:place]) and _says_the_same(left[:place], right[:place]):
            return _says_the_same(left[place:], right[place:])
        if not _are_the_same(left[:place], right[other:]):
            continue
        may_change = _may_change((left[0], left[place]), (right[other], right[0]))
        if may_change and _says_the_same(left[:place], right[other:]) and _says_the_same(left[place:], right[:other]):
            return True
    return False


def _may_change(before: tuple[Piece, Piece], after: tuple[Piece, Piece]) -> bool:
    """Whether two blocks may change places, by what their first pieces were joined by, and are afterwards.

    The second one then, or the first one now, is behind a preposition: the budget of marketing, the marketing budget.
    Or each keeps its own: from here to there, to there from here. Or there is a comma, or an `and`, between them.
    """
    first, second = before[1], after[0]
    if first.is_cut or second.is_cut or first.junction == second.junction == "and":
        return True
    if first.is_attached != second.is_attached:
        return True
    kept = before[0].junction == after[0].junction and before[1].junction == after[1].junction
    return kept and first.is_attached and second.is_attached


def _are_the_same(left: Sequence[Piece], right: Sequence[Piece]) -> bool:
    return Counter(piece.root for piece in left) == Counter(piece.root for piece in right)


class Number(NamedTuple):
    """A number or a date, and what it stands beside: the preposition, the word before and the word behind it."""

    value: str
    beside: frozenset[tuple[str, str]]


def numbers_in_order(tokens: Sequence[str], words: Sequence[Word]) -> tuple[Number, ...]:
    """The numbers, dates and codes in the order in which they stand; what two of them stand beside tells nothing."""
    before, behind = _plain_before(words), _plain_before(words[::-1])[::-1]
    found: list[tuple[int, str, set[tuple[str, str]]]] = []
    for place, word in enumerate(words):
        if not (word.number or word.date or word.is_code):
            continue
        near = [said for said in reversed(tokens[max(place - 3, 0) : place]) if said not in _DETERMINERS]
        beside = {
            ("behind", behind[place]),
            ("before", before[place]),
            ("preposition", next((said for said in near if said in _PREPOSITIONS), "")),
            ("word", near[0] if near else ""),
        }
        found.append((place, word.number or word.date or word.root, {pair for pair in beside if pair[1]}))
    shared = Counter(pair for _, _, beside in found for pair in beside)
    own = [{pair for pair in beside if shared[pair] == 1} for _, _, beside in found]
    for at, ((place, _, _), (other, _, _)) in enumerate(pairwise(found)):
        between = list(tokens[place + 1 : other])
        if between[:1] in (["and"], ["or"]) and between[1:] in ([], list(tokens[place - 1 : place])):
            # 3 and 4, plan A or plan B: either may be the first.
            for beside in own[at : at + 2]:
                beside.add(("beside", "another"))
    return tuple(Number(value, frozenset(beside)) for (_, value, _), beside in zip(found, own, strict=True))


def _plain_before(words: Sequence[Word]) -> list[str]:
    """For each word the last one before it that stands in the order."""
    found, last = [], ""
    for word in words:
        found.append(last)
        last = word.root if _is_plain(word) else last
    return found


def _is_plain(word: Word) -> bool:
    return word.carries_meaning and not (word.number or word.date or word.unit or word.is_code)


def are_numbers_swapped(one: Sequence[Number], two: Sequence[Number]) -> bool:
    """The same numbers in another order, and one of them beside nothing that it is beside in the other question."""
    if len(one) < 2 or [number.value for number in one] == [number.value for number in two]:
        return False
    there = {number.value: number.beside for number in two}
    return any(number.value in there and number.beside.isdisjoint(there[number.value]) for number in one)
