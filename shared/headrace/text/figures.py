"""Figures of a text: its numbers, whatever their notation, with the units that stand beside them; dates, versions and times whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from headrace.text.sentences import UNSPACED

# In a script that is written without spaces a number begins where the letters end.
_LETTER = rf"[^\W{UNSPACED}]"
_CURRENCIES = "EUR|USD|GBP|CHF|JPY"
# What is looked for begins with a digit: that is asked first, because it is asked at every character.
_START = rf"(?=\d)(?:(?<!{_LETTER})(?<![.,:/])|(?<=EUR)|(?<=USD)|(?<=GBP)|(?<=CHF)|(?<=JPY))"
_NUMBER = re.compile(rf"{_START}(?:\d{{1,3}}(?:[.,'’\u00a0\u202f ]\d{{3}})+(?!\d)|\d+)(?:[.,]\d+)?(?!\d)")
# Parts that make one thing: a date, a version, an address, a time. A hyphen alone is a range.
_WHOLE = re.compile(rf"(?=\d)(?:(?<!{_LETTER})|(?<=\bv))\d+(?:(?:[./:]\d+){{2,}}|-\d+-\d+|:\d\d)(?![\d])")
_GROUPED = re.compile(r"\d{1,3}(?:\.\d{3})+")
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan januar janvier enero gennaio janeiro januari", "february feb februar février febrero febbraio fevereiro februari",
            "march mar märz mars marzo março maart", "april apr avril abril aprile", "may mai mayo maggio maio mei",
            "june jun juni juin junio giugno junho", "july jul juli juillet julio luglio julho",
            "august aug août agosto augustus", "september sep sept septembre septiembre settembre setembro",
            "october oct oktober okt octobre octubre ottobre outubro", "november nov novembre noviembre novembro",
            "december dec dezember dez décembre diciembre dicembre dezembro",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DAY_FIRST = re.compile(
    rf"\b(\d{{1,2}})(?:\.|st|nd|rd|th|er|º)?\s+(?:de\s+|of\s+)?({_MONTH})\.?\s+(?:de\s+)?(\d{{4}})\b", re.IGNORECASE
)
# `March 15, 2024`: from the day on; the month stands before it.
_DAY_AND_YEAR = re.compile(r"(?=\d)(?<=\s)(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})\b")
_WORD_BEFORE = re.compile(r"([^\W\d_]+)\.?\s+$")
_SCALES = {
    "thousand": 3, "tausend": 3, "mille": 3, "mil": 3, "k": 3, "tsd": 3,
    "million": 6, "millions": 6, "millionen": 6, "mio": 6, "millones": 6, "milioni": 6, "milhões": 6, "miljoen": 6,
    "billion": 9, "billions": 9, "milliarde": 9, "milliarden": 9, "mrd": 9, "milliards": 9, "miliardi": 9, "miljard": 9, "bn": 9,
}  # fmt: skip
_SCALE = re.compile(rf"[\s\u00a0]?({'|'.join(sorted(_SCALES, key=len, reverse=True))})\b\.?", re.IGNORECASE)
_MINUS = re.compile(r"(?:^|[\s(])[-\u2212]$")
_CURRENCY_BEFORE = re.compile(rf"([€$£¥]|\b(?:{_CURRENCIES}))\s?[-\u2212]?$")
_DEGREES = re.compile(r"\s?(?:°|degrees?\s|grad\s)\s?(c|f|celsius|fahrenheit)\b", re.IGNORECASE)
_UNIT_AFTER = re.compile(r"[\s\u00a0\u202f-]?([%‰€$£¥]|[^\W\d_]+)")
# Names of units, by what they mean; in English, German, French, Spanish, Italian, Portuguese and Dutch.
_NAMES = {
    "%": "% percent prozent pourcent porcentaje percento", "‰": "‰ promille",
    "l": "l litre litres liter liters litro litros litri", "ml": "ml millilitre millilitres milliliter milliliters",
    "g": "g gram grams gramm gramme grammes gramos grammi", "mg": "mg milligram milligrams milligramm", "µg": "µg mcg microgram micrograms",
    "kg": "kg kilogram kilograms kilogramm kilo kilos", "t": "t tonne tonnes ton tons tonnen toneladas",
    "mm": "mm millimetre millimetres millimeter millimeters", "cm": "cm centimetre centimetres centimeter centimeters zentimeter",
    "m": "m metre metres meter meters metern mètre mètres metro metros metri", "km": "km kilometre kilometres kilometer kilometers",
    "mi": "mi mile miles meilen", "ft": "ft foot feet", "in": "inch inches zoll",
    "s": "s sec second seconds sekunde sekunden secondes segundos secondi", "min": "min minute minutes minuten minuto minutos minuti",
    "h": "h hr hrs hour hours stunde stunden heure heures hora horas ora ore uur",
    "d": "day days tag tage tagen jour jours día días dia dias giorno giorni dag dagen",
    "wk": "week weeks woche wochen semaine semaines semana semanas settimana settimane weken",
    "mo": "month months monat monate monaten mois mes meses mese mesi mês maand maanden",
    "a": "year years jahr jahre jahren année années ans año años anno anni ano anos jaar",
    "eur": "€ eur euro euros", "usd": "$ usd dollar dollars dólares", "gbp": "£ gbp", "chf": "chf franken", "jpy": "¥ jpy yen",
    "v": "v volt volts", "w": "w watt watts", "kw": "kw kilowatt kilowatts", "kwh": "kwh", "hz": "hz hertz", "bar": "bar", "pa": "pa pascal",
    "kb": "kb kilobytes", "mb": "mb megabyte megabytes", "gb": "gb gigabyte gigabytes", "tb": "tb terabyte terabytes",
    "kbit": "kbit kbps", "mbit": "mbit mbps", "gbit": "gbit gbps",
}  # fmt: skip
# Of these the case has a meaning: milliwatts and megawatts.
_CASED = {"mW": "mw", "MW": "MW", "mV": "mv", "MV": "MV", "mA": "ma"}
_UNITS = {name: unit for unit, names in _NAMES.items() for name in names.split()}
_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()  # fmt: skip
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_EINER = "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn".split()  # fmt: skip
_ZEHNER = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()


def _number_words() -> dict[str, int]:
    words = {word: number for number, word in enumerate(_ONES)} | {word: number for number, word in enumerate(_EINER)}
    words |= {"ein": 1, "eine": 1, "einem": 1, "einen": 1, "einer": 1}
    for tens, (english, german) in enumerate(zip(_TENS, _ZEHNER, strict=True), 2):
        words |= {english: tens * 10, german: tens * 10}
        for ones in range(1, 10):
            words[f"{english}-{_ONES[ones]}"] = words[f"{english} {_ONES[ones]}"] = tens * 10 + ones
            words[f"{'ein' if ones == 1 else _EINER[ones]}und{german}"] = tens * 10 + ones
    return words


_WORDS = _number_words()
_WORD = re.compile(r"[^\W\d_]+")
_WORD_OF_TENS = re.compile(rf"[- ](?:{'|'.join(_ONES[1:10])})\b", re.IGNORECASE)
# Of these nobody can say whether they count.
_ARTICLES = frozenset("one ein eine einem einen einer".split())


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure: every value that its notation may have (1.500 is a thousand or a half), and its unit, if one is known.

    A date, a version, an address or a time is one value, as text.
    """

    text: str
    values: frozenset[Decimal | str]
    unit: str = ""
    is_word: bool = False

    @property
    def may_be_an_article(self) -> bool:
        return self.is_word and self.text.casefold() in _ARTICLES


def figures_of(text: str, *, parts: bool = False) -> Iterator[Figure]:
    """The text's figures, those in words (English and German) last. With `parts`, those of dates and the like as well."""
    wholes: list[tuple[int, int]] = []
    for start, end, value in _wholes(text):
        wholes.append((start, end))
        yield Figure(text[start:end], value)
    for found in _NUMBER.finditer(text):
        if parts or not any(start <= found.start() < end for start, end in wholes):
            yield _figure(text, found.start(), found.end())
    if parts:
        for start, end in wholes:
            for piece in re.finditer(r"\d+", text[start:end]):
                yield Figure(piece.group(), frozenset({_decimal(piece.group())}))
    end = 0
    for found in _WORD.finditer(text):
        # The six of twenty-six has been read.
        if found.start() < end or found.group().casefold() not in _WORDS:
            continue
        more = _WORD_OF_TENS.match(text, found.end()) if found.group().casefold() in _TENS else None
        end = more.end() if more else found.end()
        scale = _SCALE.match(text, end)
        number = _scaled(Decimal(_WORDS[text[found.start() : end].casefold()]), scale)
        unit = _unit(text, found.start(), scale.end() if scale else end)
        yield Figure(text[found.start() : end], frozenset({number}), unit, is_word=True)


def _wholes(text: str) -> Iterator[tuple[int, int, frozenset[Decimal | str]]]:
    """Dates, versions, addresses and times: where they stand, and their values."""
    for found in _DAY_FIRST.finditer(text):
        day, month, year = found.groups()
        yield *found.span(), frozenset({_date(year, _MONTHS[month.casefold()], day)})
    for found in _DAY_AND_YEAR.finditer(text):
        month = _WORD_BEFORE.search(text, max(found.start() - 15, 0), found.start())
        if month is not None and month.group(1).casefold() in _MONTHS:
            date = _date(found.group(2), _MONTHS[month.group(1).casefold()], found.group(1))
            yield month.start(), found.end(), frozenset({date})
    for found in _WHOLE.finditer(text):
        if _GROUPED.fullmatch(found.group()):
            continue
        pieces = re.split(r"[./:-]", found.group())
        values: set[Decimal | str] = {found.group().lstrip("0")}
        if len(pieces) == 3 and len(pieces[0]) == 4:
            values.add(_date(*pieces))
        elif len(pieces) == 3 and len(pieces[2]) == 4:
            values |= {_date(pieces[2], pieces[1], pieces[0]), _date(pieces[2], pieces[0], pieces[1])}
        elif ":" in found.group() and pieces[1] == "00":
            values.add(_decimal(pieces[0]))
        yield *found.span(), frozenset(values)


def _date(year: str, month: str | int, day: str) -> str:
    return f"{year}-{int(month):02}-{int(day):02}"


def _figure(text: str, start: int, end: int) -> Figure:
    sign = -1 if _MINUS.search(text, max(start - 2, 0), start) else 1
    scale = _SCALE.match(text, end)
    values = frozenset(_scaled(sign * value, scale) for value in _values(text[start:end]))
    end = scale.end() if scale else end
    return Figure(text[start:end], values, _unit(text, start, end))


def _scaled(value: Decimal, scale: re.Match[str] | None) -> Decimal:
    return (value * 10 ** _SCALES[scale.group(1).casefold()] if scale else value).normalize()


def _values(number: str) -> frozenset[Decimal]:
    plain = re.sub(r"['’\u00a0\u202f ]", "", number)
    marks = [mark for mark in plain if mark in ".,"]
    if len(set(marks)) == 2:
        whole, _, fraction = plain.rpartition(marks[-1])
        return frozenset({_decimal(f"{re.sub('[.,]', '', whole)}.{fraction}")})
    grouped = _decimal(re.sub("[.,]", "", plain))
    if not marks or len(marks) > 1:
        return frozenset({grouped})
    decimal = _decimal(plain.replace(",", "."))
    is_ambiguous = len(plain) - plain.index(marks[0]) == 4
    return frozenset({grouped, decimal}) if is_ambiguous else frozenset({decimal})


def _decimal(text: str) -> Decimal:
    return Decimal(text).normalize()


def _unit(text: str, start: int, end: int) -> str:
    before = _CURRENCY_BEFORE.search(text, max(start - 5, 0), start)
    if before:
        return _UNITS[before.group(1).casefold()]
    if degrees := _DEGREES.match(text, end):
        return f"°{degrees.group(1)[0].casefold()}"
    after = _UNIT_AFTER.match(text, end)
    if after is None:
        return ""
    return _CASED.get(after.group(1)) or _UNITS.get(after.group(1).casefold(), "")
