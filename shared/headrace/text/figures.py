"""Figures of a text: its numbers, whatever their notation, with the units that stand beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

_NUMBER = re.compile(r"(?<![\w.,])(?:\d{1,3}(?:[.,'’\u00a0\u202f ]\d{3})+(?!\d)|\d+)(?:[.,]\d+)?(?![\d])")
_CURRENCY_BEFORE = re.compile(r"([€$£¥]|\b(?:EUR|USD|GBP|CHF|JPY))\s?$")
_DEGREES = re.compile(r"\s?(?:°|degrees?\s|grad\s)\s?(c|f|celsius|fahrenheit)\b", re.IGNORECASE)
_UNIT_AFTER = re.compile(r"[\s\u00a0\u202f-]?([%‰€$£¥]|[^\W\d_]+)")
# Names of units, by what they mean; in English, German, French and Spanish.
_NAMES = {
    "%": "% percent per_cent prozent pourcent porcentaje", "‰": "‰ promille",
    "l": "l litre litres liter liters litro litros", "ml": "ml millilitre millilitres milliliter milliliters",
    "g": "g gram grams gramm gramme grammes gramos", "mg": "mg milligram milligrams milligramm",
    "kg": "kg kilogram kilograms kilogramm kilo kilos", "t": "t tonne tonnes ton tons tonnen toneladas",
    "mm": "mm millimetre millimetres millimeter millimeters", "cm": "cm centimetre centimetres centimeter centimeters zentimeter",
    "m": "m metre metres meter meters metern mètre mètres metro metros", "km": "km kilometre kilometres kilometer kilometers",
    "mi": "mi mile miles meilen", "ft": "ft foot feet", "in": "inch inches zoll",
    "s": "s sec second seconds sekunde sekunden", "min": "min minute minutes minuten minuto minutos",
    "h": "h hr hrs hour hours stunde stunden heure heures hora horas",
    "d": "day days tag tage tagen jour jours día días", "wk": "week weeks woche wochen semaine semaines semana semanas",
    "mo": "month months monat monate monaten mois mes meses", "a": "year years jahr jahre jahren an ans année années año años",
    "eur": "€ eur euro euros", "usd": "$ usd dollar dollars", "gbp": "£ gbp", "chf": "chf franken", "jpy": "¥ jpy yen",
    "v": "v volt volts", "w": "w watt watts", "kw": "kw kilowatt kilowatts", "mw": "mw megawatt megawatts", "kwh": "kwh",
    "hz": "hz hertz", "bar": "bar", "pa": "pa pascal", "kb": "kb kilobytes", "mb": "mb megabyte megabytes",
    "gb": "gb gigabyte gigabytes", "tb": "tb terabyte terabytes",
}  # fmt: skip
_UNITS = {name: unit for unit, names in _NAMES.items() for name in names.split()}
_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()  # fmt: skip
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_EINER = "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn".split()  # fmt: skip
_ZEHNER = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()


def _number_words() -> dict[str, int]:
    words = {word: number for number, word in enumerate(_ONES)} | {word: number for number, word in enumerate(_EINER)}
    for tens, (english, german) in enumerate(zip(_TENS, _ZEHNER, strict=True), 2):
        words |= {english: tens * 10, german: tens * 10}
        for ones in range(1, 10):
            words[f"{english}-{_ONES[ones]}"] = words[f"{english} {_ONES[ones]}"] = tens * 10 + ones
            words[f"{'ein' if ones == 1 else _EINER[ones]}und{german}"] = tens * 10 + ones
    return words


_WORDS = _number_words()
_WORD = re.compile(rf"\b(?:{'|'.join(sorted(_WORDS, key=len, reverse=True))})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number: every value that its notation may have (1.500 is a thousand or a half), and its unit, if one is known."""

    text: str
    values: frozenset[Decimal]
    unit: str = ""


def figures_of(text: str, *, in_words: bool = False) -> Iterator[Figure]:
    """The text's figures in order; those written in words only where they are asked for."""
    for found in _NUMBER.finditer(text):
        yield Figure(found.group(), _values(found.group()), _unit(text, found.start(), found.end()))
    if in_words:
        for found in _WORD.finditer(text):
            number = Decimal(_WORDS[found.group().casefold()])
            yield Figure(found.group(), frozenset({number}), _unit(text, found.start(), found.end()))


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
    return _UNITS.get(after.group(1).casefold(), "") if after else ""
