"""What a question asks for, told by its words: names that must be there, and whether a sentence can be its answer at all."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from headrace.text.function_words import COMPOUNDING_WORDS
from headrace.text.sentences import content_stems, stem, words

# A name, and what of it is meant: AquaSense 500, Type B; and a code: E34, ERR_TG_5003, X-200.
_NUMBERED = re.compile(
    r"\b([A-ZÄÖÜ][\w-]*[^\W\d_][\w-]*) (\d+[\w.]*|[A-Z])(?![\w.])(?!\s*(?:%|°|[a-zµ]{1,4}\b|EUR|USD|CHF|GBP))"
)
_CODE = re.compile(r"\b(?=\w*[A-Z])(?=[\w-]*\d)[\w-]{2,}\b")
_NAME = re.compile(r"(?<=[\w,;] )[A-Z][\w-]*[a-z][\w-]*|\b[A-Z]{2,}\b")
# Summaries, comparisons, and the most of anything take more than one sentence, and reading.
_NEEDS_MODEL = re.compile(
    r"""
    \b(?:summari[sz]e|summary|overview|compare|comparison|differences?\ between|pros\ and\ cons|list\ all|translate|rewrite)\b
    | \b(?:most|least)\ \w+ | \b(?:cheap|high|low|long|short|large|small|big|old|new|heavi|light|fast|slow|strong|few)est\b
    | \b(?:zusammen(?:fass\w*)?|fasse?\b.*\bzusammen|überblick|vergleich\w*|unterschiede?\ zwischen|übersetze?\w*)\b
    | \b(?:am\ \w+sten|(?:teuer|billig|günstig|höch|niedrig|läng|kürz|größ|klein|ält|neue|schwer|leicht|schnell|meis)st?e[nrs]?)\b
    | \b(?:résum\w*|compare[rz]?|résumé|resume|resumen|compara\w*|riassum\w*|confront\w*)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
# "At most", "at least" and the like measure, and compare nothing.
_NO_SUPERLATIVE = re.compile(r"\bat (?:most|least)\b|\bthe latest\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Asked:
    """The question's content: its stems, and the names that what answers it must carry."""

    stems: frozenset[str]
    names: frozenset[str]


def asked(question: str) -> Asked:
    """What the question asks for."""
    names = {match[0] for match in _CODE.finditer(question)}
    numbered = [match[0] for match in _NUMBERED.finditer(question)]
    if numbered:
        names = {name for name in names if not any(name in whole for whole in numbered)} | set(numbered)
    # Where all nouns are written large, a large letter makes no name.
    if COMPOUNDING_WORDS.isdisjoint(words(question)):
        names |= {name for name in _NAME.findall(question) if not any(name in whole for whole in numbered)}
    return Asked(content_stems(question), frozenset(names))


def needs_model(question: str) -> bool:
    """Whether the question asks for a summary, a comparison or the most of something."""
    return _NEEDS_MODEL.search(_NO_SUPERLATIVE.sub("", question)) is not None


def carries(name: str, text: str) -> bool:
    """Whether a text has a name, in whatever case and form."""
    plain = " ".join(text.casefold().split())
    wanted = name.casefold()
    if re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", plain):
        return True
    found = {stem(word) for word in words(plain)}
    return " " not in name and any(nearly(stem(wanted), other) for other in found)


def nearly(wanted: str, found: str) -> bool:
    """Whether two stems are the same but for one letter that was left out, added, changed or swapped with its neighbour."""
    if wanted == found:
        return True
    shorter, longer = sorted((wanted, found), key=len)
    if len(shorter) < 5 or len(longer) - len(shorter) > 1 or any(map(str.isdigit, wanted + found)):
        return False
    start = next((at for at, (a, b) in enumerate(zip(shorter, longer, strict=False)) if a != b), len(shorter))
    if len(shorter) < len(longer):
        return shorter[start:] == longer[start + 1 :]
    changed = shorter[start + 1 :] == longer[start + 1 :]
    swapped = (
        shorter[start : start + 2] == longer[start : start + 2][::-1] and shorter[start + 2 :] == longer[start + 2 :]
    )
    return changed or swapped


def same_word(wanted: str, found: Collection[str]) -> bool:
    """Whether a stem is among others, be it with a slip of the pen, or as a part of a compound."""
    return wanted in found or any(_are_alike(wanted, other) for other in found)


@lru_cache(maxsize=65_536)
def _are_alike(wanted: str, found: str) -> bool:
    return nearly(wanted, found) or _is_part(wanted, found)


def _is_part(wanted: str, found: str) -> bool:
    shorter, longer = sorted((wanted, found), key=len)
    return (
        len(shorter) >= 5
        and len(longer) >= 9
        and longer.isalpha()
        and (longer.startswith(shorter) or longer.endswith(shorter))
    )
