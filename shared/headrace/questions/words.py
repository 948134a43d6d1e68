"""What a single word is to a question: a number, a unit, a day, a negation, a word of asking, or one that carries meaning.

The lists are English; a word that is on none of them carries meaning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from headrace.sentences import STOP_WORDS, stem

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
_NEGATIONS = frozenset(
    """not no never none neither nor without cannot except excluding unless dont cant wont isnt arent wasnt werent doesnt
    didnt shouldnt mustnt couldnt wouldnt hasnt havent hadnt aint""".split()
)
# A question about what is before is none about what is during; `in` and `when` may mean during, but not before.
TIMING = {word: word for word in "before after until since during".split()} | {"till": "until", "prior": "before"}
ORDERING = frozenset(("before", "after"))
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
        ("all every each", "some few most many"),
        ("get gets receive receives take takes taken", "give gives given"),
        ("must need needs needed required mandatory obligatory", "may can allowed permitted optional"),
        ("number", "amount"),
        ("was were did", "will shall"),
        ("include includes included", "need needs needed"),
        ("from", "by"),
        ("keep keeps kept hold holds", "use uses used using"),
        ("accept approve", "reject refuse decline"),
    )
)


class Word(NamedTuple):
    """A word as questions are compared by it."""

    root: str
    carries_meaning: bool = False
    # Whether more than its root has to agree.
    is_special: bool = False
    number: str = ""
    unit: str = ""
    date: str = ""
    negates: bool = False
    is_letter: bool = False
    # A name, in lower case as well: `e12`.
    is_code: bool = False


LETTER_A = Word("A", carries_meaning=True, is_special=True, number="A", is_letter=True)
LAST = Word("last", carries_meaning=True)
USED = Word("used", carries_meaning=True)
MAY = Word("may", carries_meaning=True, is_special=True, date="may")


@lru_cache(maxsize=65_536)
def read_word(token: str) -> Word:
    """What a lower-case token is; `1,000` and `twice` are numbers, `b` is a letter that names something."""
    if (token[-1].isdigit() and not token[0].isalpha()) or token[0].isdigit():
        number = "".join(token.replace(",", "").split())
        return Word(number, carries_meaning=True, is_special=True, number=number)
    if token in _NEGATIONS or token.endswith("n't"):
        return Word(token, is_special=True, negates=True)
    unit = _UNITS.get(token, "")
    if len(token) == 1 and token.isalpha() and token.isascii() and token not in STOP_WORDS:
        letter = token.upper()
        return Word(letter, carries_meaning=True, is_special=True, number=letter, unit=unit, is_letter=True)
    bare = token.removesuffix("'s")
    carries_meaning = bare not in STOP_WORDS and bare not in _ASKING_WORDS and token[0].isalnum()
    number, date = _NUMBER_WORDS.get(token, ""), _CALENDAR.get(token, "")
    is_code = any(letter.isdigit() for letter in token)
    is_special = bool(number or unit or date or is_code)
    return Word(root_of(bare), carries_meaning, is_special, number, unit, date, is_code=is_code)


@lru_cache(maxsize=65_536)
def root_of(word: str) -> str:
    """The stem, so that more forms of a word are one: `resetting` and `reset`; but `employee` is no `employer`."""
    if word in _NUMBER_WORDS:
        return _NUMBER_WORDS[word]
    if word.endswith(("ee", "ees")):
        return word.removesuffix("s")
    stemmed = stem(word)
    if len(stemmed) > 4 and stemmed[-1] == stemmed[-2]:
        stemmed = stemmed[:-1]
    return stemmed.removesuffix("e") if len(stemmed) > 4 else stemmed


@lru_cache(maxsize=1)
def opposites() -> Mapping[str, frozenset[str]]:
    """The roots that mean the opposite of a root."""
    found = defaultdict[str, set[str]](set)
    for some, others in _OPPOSITES:
        one, other = {root_of(word) for word in some}, {root_of(word) for word in others}
        for root in one:
            found[root] |= other
        for root in other:
            found[root] |= one
    return {root: frozenset(against) for root, against in found.items()}
