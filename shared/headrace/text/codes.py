"""Digits, codes and units of a text: what must be the same for two questions to be the same, in any language."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping

from headrace.text.sentences import UNSPACED

# A run without spaces; those that have a digit are numbers or codes: 12, 1,000.50, -20, E12, ERR_TG_5003, 2024-05-01, §12.
# In a script that is written without spaces a number ends where the letters begin.
_RUN = re.compile(rf"[^\s{UNSPACED}]+")
_DIGIT = re.compile(r"\d")
_NUMBER = re.compile(r"([$€£¥]?)([-+<>≤≥=]*\d(?:[\d.,:'’]*\d)?)([%‰°$€£¥]?[A-Za-zµ]{0,3})")
# Marks that may begin or end a number or a code; others belong to the sentence.
_BEFORE, _AFTER = "-+<>≤≥=§#$€£¥_", "%‰°$€£¥+_"
# Unit symbols are the same in all languages; names of units are words, and a judge's to compare. Left out are those that
# are common words: "12 in Berlin".
_UNITS = frozenset(
    "m km cm mm µm nm mi ft yd g kg mg µg t lb oz l dl cl ml h min s ms v kv mv ma w kw mw kwh mwh hz khz mhz ghz "
    "k c f °c °f ° bar mbar pa kpa mpa psi b kb mb gb tb % ‰ € $ £ ¥ eur usd gbp chf jpy cny rpm".split()
)
# Of these the case has a meaning: milliwatts and megawatts, bits and bytes.
_CASED = frozenset("mw mwh mv ma mpa b kb mb gb tb".split())
_UNIT_AFTER = re.compile(r"\s?([%‰€$£¥]|°\s?[CFcf]?|[A-Za-zµ]+)(?!\w)")


def codes_of(text: str) -> Mapping[str, int]:
    """The text's numbers with their units, and its codes, each with how often it occurs.

    Digits of every script count as 0 to 9. Two texts of different codes ask for different things; two of the same
    codes may still.
    """
    plain = "".join(_plain(character) for character in text)
    return Counter(_codes(plain))


def _codes(text: str) -> Iterator[str]:
    for run in _RUN.finditer(text):
        if _DIGIT.search(run.group()) is None:
            continue
        code = _without_marks(run.group())
        number = _NUMBER.fullmatch(code)
        if number is None or (number.group(3) and number.group(3).casefold() not in _UNITS):
            yield code.casefold()
            continue
        unit = number.group(3) or _unit_after(text, run.end())
        # $5 and 5 $ are the same.
        yield number.group(2) + (number.group(1) or _symbol(unit))


def _without_marks(run: str) -> str:
    """The run without the marks of the sentence around it."""
    start, end = 0, len(run)
    while start < end and not (run[start].isalnum() or run[start] in _BEFORE):
        start += 1
    while end > start and not (run[end - 1].isalnum() or run[end - 1] in _AFTER):
        end -= 1
    return run[start:end]


def _unit_after(text: str, position: int) -> str:
    unit = _UNIT_AFTER.match(text, position)
    return unit.group(1).replace(" ", "") if unit and unit.group(1).replace(" ", "").casefold() in _UNITS else ""


def _symbol(unit: str) -> str:
    return unit if unit.casefold() in _CASED else unit.casefold()


def _plain(character: str) -> str:
    """Digits of every script, and wide forms, as ASCII; a superscript stays itself."""
    if character.isascii():
        return character
    if unicodedata.category(character) == "Nd":
        return str(unicodedata.digit(character))
    if unicodedata.decomposition(character).startswith(("<wide>", "<narrow>", "<noBreak>")):
        return unicodedata.normalize("NFKC", character)
    return "-" if character == "\N{MINUS SIGN}" else character
