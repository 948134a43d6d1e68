"""What a question asks, by rules that need no model: whether its answer may be shared, and whether two ask the same.

Embeddings put "annual leave" beside "sick leave", and 12 beside 20: nearness alone is no reason to give somebody another
question's answer. What has to agree besides: numbers with their units, dates, names, negation, what kind of answer is
wanted, who does what to whom, and every word that carries meaning, unless the documents do not know it.
The lists are English; in other languages numbers, names and words must agree all the same.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

from headrace.sentences import STOP_WORDS, stem, words

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
_NEGATION = re.compile(r"\b(?:not|no|never|none|neither|nor|without|cannot|except|excluding|unless)\b|n['’]t\b")
# `one` is rather a person or a thing.
_NUMBER_WORDS = {
    word: str(value)
    for value, word in enumerate(
        """zero - two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
        eighteen nineteen twenty""".split()
    )
} | {
    "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "ninety": "90", "hundred": "100", "thousand": "1000",
    "first": "1st", "second": "2nd", "third": "3rd", "fourth": "4th", "fifth": "5th", "once": "1x", "twice": "2x",
}  # fmt: skip
_TOKEN = re.compile(r"\d+(?:[.,:/-]\d+)*|[%$€£]|°[cf]|\w+(?:['.-]\w+)*")
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
_UNITS = {
    name: unit
    for unit, names in {
        "kg": "kg kilo kilos kilogram kilograms kilogramme kilogrammes",
        "g": "g gram grams", "mg": "mg milligram milligrams", "t": "t ton tons tonne tonnes", "lb": "lb lbs pound pounds",
        "km": "km kilometre kilometres kilometer kilometers", "m": "m metre metres meter meters",
        "cm": "cm centimetre centimetres centimeter centimeters", "mm": "mm millimetre millimetres millimeter millimeters",
        "mi": "mile miles", "ft": "foot feet", "in": "inch inches", "l": "l litre litres liter liters",
        "ml": "ml millilitre millilitres", "s": "second seconds sec secs", "min": "minute minutes mins", "h": "h hour hours hrs",
        "day": "day days", "week": "week weeks", "month": "month months", "year": "year years", "quarter": "quarter quarters",
        "%": "% percent percentage", "$": "$ dollar dollars usd", "€": "€ euro euros eur", "£": "£ gbp sterling",
        "kb": "kb kilobyte kilobytes", "mb": "mb megabyte megabytes", "gb": "gb gigabyte gigabytes", "tb": "tb terabyte terabytes",
        "°c": "°c celsius centigrade", "°f": "°f fahrenheit", "w": "w watt watts", "kw": "kw kilowatt kilowatts",
        "v": "v volt volts", "a": "amp amps ampere amperes", "bar": "bar bars", "psi": "psi", "hz": "hz hertz",
    }.items()
    for name in names.split()
}  # fmt: skip
_CALENDAR = {
    name: day
    for day, names in {
        "jan": "january jan", "feb": "february feb", "mar": "march", "apr": "april apr", "jun": "june", "jul": "july",
        "aug": "august aug", "sep": "september sep sept", "oct": "october oct", "nov": "november nov", "dec": "december dec",
        "mon": "monday mondays mon", "tue": "tuesday tuesdays tue", "wed": "wednesday wednesdays wed",
        "thu": "thursday thursdays thu", "fri": "friday fridays fri", "sat": "saturday saturdays", "sun": "sunday sundays",
        "weekend": "weekend weekends", "spring": "spring", "summer": "summer", "autumn": "autumn fall", "winter": "winter",
        "morning": "morning mornings", "evening": "evening evenings", "night": "night nights nightly", "noon": "noon midday",
        "daily": "daily", "weekly": "weekly", "monthly": "monthly", "yearly": "yearly annually",
    }.items()
    for name in names.split()
}  # fmt: skip
# What kind of answer is wanted. A question that names none may have any.
_KINDS = re.compile(
    r"\b(?:(?P<reason>why|how come|what for|for what reason|reason)|(?P<duration>how (?:long|soon|quickly|fast))"
    r"|(?P<frequency>how (?:often|frequently))"
    r"|(?P<amount>how (?:much|many|big|large|high|deep|far|heavy|old|wide|thick|hot|cold))|(?P<person>who|whom|whose)"
    r"|(?P<time>when|what (?:time|date|day|month|year)|by which date|which (?:day|month|year))"
    r"|(?P<place>where|what (?:place|location)|which (?:place|room|building|floor))"
    r"|(?P<manner>how (?:do|does|can|could|should|would|to|is|are|must|may|did)))\b"
)
_REQUESTS = ("can you ", "could you ", "would you ", "will you ")
_EITHER = re.compile(r"^(?:is|are|was|were|do|does|did|can|could|may|must|should|shall|will|would|has|have|am)\b")
# Words of asking, which say nothing of what is asked: courtesies, light verbs, measures that "how …" stands for.
_ASKING_WORDS = frozenset(
    """please kindly know knows tell explain describe question wonder wondering want wanted need needs needed help like
    looking look understand clarify exactly actually basically just really quick quickly hi hello hey thanks thank
    information info detail details regarding concerning according per ok okay anyone somebody someone anybody find out
    give gives given show list find us could would possible let learn hear curious mean means meant thing things case way
    ways there happen happens take takes taken go goes get gets got have has put puts make makes come comes keep keeps
    hold holds last lasts apply applies include includes included contain contains use used uses be being been become
    entitled entitlement allowed permitted amount number quantity total kind type sort sorts types kinds many much long
    large big far often soon time date one ones""".split()
)
_CAPITAL = re.compile(r"(?<![.!?]\s)(?<!^)\b[A-Z][\w'’-]*|\b[A-Z]{2,}\w*\b|\b\w*[a-z][A-Z]\w*\b|\b\w*\d\w*\b")
_OPPOSITES = tuple(
    (frozenset(some.split()), frozenset(others.split()))
    for some, others in (
        ("min minimum least lowest smallest shortest", "max maximum most highest largest longest"),
        ("before prior earlier", "after later following"),
        ("first", "last"),
        ("more above over exceeding", "less below under fewer"),
        ("start begin starts begins beginning opening open opens", "end ends finish ending close closing closes"),
        ("allowed permitted may can eligible", "forbidden prohibited banned ineligible"),
        ("buy purchase", "sell"),
        ("increase raise up", "decrease reduce lower down"),
        ("import incoming inbound arrival", "export outgoing outbound departure"),
        ("internal inside indoor", "external outside outdoor"),
        ("advantage advantages benefit benefits pros", "disadvantage disadvantages drawback drawbacks cons"),
        ("in on up", "out off down"),
        ("all every each", "some few"),
        ("get gets receive receives", "give gives"),
        ("was were did", "will shall"),
        ("include includes included", "need needs needed"),
        ("from", "by"),
        ("accept approve", "reject refuse decline"),
    )
)

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
    for name in ("numbers", "dates", "negation"):
        if getattr(one, name) != getattr(two, name):
            return name
    if one.units - two.units - {unit for _, unit in two.numbers}:
        return "units"
    if one.names - two.words or two.names - one.words:
        return "names"
    if one.kind and two.kind and one.kind != two.kind:
        return "kind"
    if (one.kind == "either") != (two.kind == "either"):
        return "kind"
    if _are_opposite(one.roots, two.roots):
        return "opposites"
    if any(one.links.get(link, target) != target for link, target in two.links.items()):
        return "relations"
    return "order" if _are_swapped(one.content, two.content) else ""


def difference(question: str, other: str) -> Difference:
    """The words that carry meaning in the one question and not in the other."""
    left, right = frozenset(_facts(question).content), frozenset(_facts(other).content)
    return Difference(left - right, right - left, left & right)


def without_typos(apart: Difference, known: Collection[str]) -> Difference:
    """The difference without those words of the left question that nobody knows, and that are a letter off one of the right."""
    typos = {(a, b) for a in apart.left for b in apart.right if a not in known and _is_typo(a, b)}
    left, right = (frozenset(pair[side] for pair in typos) for side in (0, 1))
    return Difference(apart.left - left, apart.right - right, apart.shared | right)


def roots_in(text: str) -> frozenset[str]:
    """The words of a text, as differences name them."""
    return frozenset(_root(word.removesuffix("'s")) for word in words(text))


_DATE_ROOTS = frozenset(stem(name) for name in _CALENDAR)


@dataclass(frozen=True, slots=True)
class _Facts:
    numbers: frozenset[tuple[str, str]]
    units: frozenset[str]
    dates: frozenset[str]
    negation: int
    names: frozenset[str]
    kind: str
    links: dict[str, str]
    words: frozenset[str]
    roots: frozenset[str]
    content: tuple[str, ...]


@lru_cache(maxsize=2048)
def _facts(question: str) -> _Facts:
    text = " ".join((question if question.isascii() else _plain(question)).split())
    low = text.casefold()
    tokens = _TOKEN.findall(low)
    return _Facts(
        numbers=_numbers(tokens),
        units=frozenset(
            _UNITS[token] for token in tokens if token in _UNITS and (len(token) > 3 or not token.isalnum())
        ),
        dates=frozenset(_CALENDAR[token] for token in tokens if token in _CALENDAR),
        negation=len(_NEGATION.findall(low)),
        names=frozenset(name.casefold().removesuffix("'s") for name in _CAPITAL.findall(text) if not name[0].isdigit())
        - STOP_WORDS,
        kind=_kind(low),
        links=_links(tokens),
        words=frozenset(tokens) | {token.removesuffix("'s") for token in tokens},
        roots=frozenset(_root(token) for token in tokens),
        content=tuple(
            _root(word)
            for word in (token.removesuffix("'s") for token in words(low))
            if word not in STOP_WORDS and word not in _ASKING_WORDS and not _NEGATION.fullmatch(word)
        ),
    )


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("’", "'")


@lru_cache(maxsize=65_536)
def _root(word: str) -> str:
    """The stem, so that more forms of a word are one: `resetting` and `reset`; but `employee` is no `employer`."""
    if word in _NUMBER_WORDS:
        return _NUMBER_WORDS[word]
    if word.endswith(("ee", "ees")):
        return word.removesuffix("s")
    stemmed = stem(word)
    if len(stemmed) > 4 and stemmed[-1] == stemmed[-2]:
        stemmed = stemmed[:-1]
    return stemmed.removesuffix("e") if len(stemmed) > 4 else stemmed


def _numbers(tokens: Sequence[str]) -> frozenset[tuple[str, str]]:
    """Each number with its unit, both in one form: `5 kilometres` is `5km`."""
    found = set()
    for place, token in enumerate(tokens):
        number, unit = _NUMBER_WORDS.get(token), ""
        if number is None:
            match = _NUMBER.match(token) if token[0].isdigit() else None
            if match is None:
                continue
            number, unit = match.group().replace(",", ""), token[match.end() :]
        near = [unit] if unit else [*tokens[place + 1 : place + 2], *tokens[max(place - 1, 0) : place]]
        found.add((number, next((_UNITS[word] for word in near if word in _UNITS), unit)))
    return frozenset(found)


def _kind(low: str) -> str:
    # "Can you tell me why …" asks why.
    found = _KINDS.search(low)
    if found:
        return found.lastgroup or ""
    return "either" if _EITHER.match(low) and not low.startswith(_REQUESTS) else ""


def _links(tokens: Sequence[str]) -> dict[str, str]:
    """What stands behind each preposition: from where, to whom."""
    found: dict[str, str] = {}
    for place, token in enumerate(tokens):
        if token in {"from", "to", "before", "after", "than", "into", "over", "under", "between"}:
            behind = (word for word in tokens[place + 1 :] if word not in STOP_WORDS)
            if target := next(behind, "").removesuffix("'s"):
                found.setdefault(token, _root(target))
    return found


def _are_opposite(one: frozenset[str], two: frozenset[str]) -> bool:
    """Whether the one has a word and the other its opposite: `open` and `closed`, `install` and `uninstall`."""
    left, right = one - two, two - one
    if any((left & a and right & b) or (left & b and right & a) for a, b in _opposites()):
        return True
    return any(prefix + a in right for a in left for prefix in _NEGATING) or any(
        prefix + b in left for b in right for prefix in _NEGATING
    )


@lru_cache(maxsize=1)
def _opposites() -> tuple[tuple[frozenset[str], frozenset[str]], ...]:
    return tuple((frozenset(map(_root, a)), frozenset(map(_root, b))) for a, b in _OPPOSITES)


def _are_swapped(content: Sequence[str], other: Sequence[str]) -> bool:
    """The same words, of which two have changed places around others: who does what to whom is another.

    Two beside each other are a way to say it: `the marketing budget`, `the budget of marketing`. Numbers and dates may
    stand anywhere.
    """
    one, two = (
        [word for word in words_ if not (word[0].isdigit() or word in _DATE_ROOTS)] for words_ in (content, other)
    )
    places = [place for place, (a, b) in enumerate(zip(one, two, strict=False)) if a != b]
    is_swap = len(one) == len(two) and len(places) == 2 and Counter(one) == Counter(two)
    return is_swap and places[1] - places[0] > 1


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
