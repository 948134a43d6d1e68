"""What two texts share in words: the other half of a passage's score, beside the similarity of their embeddings.

BM25 with two changes that make a score depend on question and chunk alone, not on what else is stored: the mean
length is a constant, and a word's rarity comes from English at large. So a score means the same on every store, for
every tenant, today and tomorrow; tests/bench/quality.py measures what that costs: nothing that can be told on four corpora.
Source: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from zlib import crc32

from headrace.text.common_words import COMMON_WORDS
from headrace.text.function_words import COMPOUNDING_WORDS
from headrace.text.sentences import STOP_WORDS, stem, words

K1 = 1.2
B = 0.75
# Terms in a chunk of the usual size.
USUAL_TERMS = 100
COMMONEST_WEIGHT = 0.1
# Of an identifier as a whole beside one of its parts, and of what may be a part of a compound beside a word.
IDENTIFIER_WEIGHT = 3.0
PART_WEIGHT = 0.1
LONG_WORD = 9
SHORTEST_PART = 4
# Of so many texts the words are remembered: those that many ask for are found again and again. Some megabytes.
REMEMBERED_TEXTS = 1024
_JOINTS = re.compile(r"[._'’-]+")


def terms(text: str) -> list[str]:
    """The stems of the words that carry meaning, in order; `os.path` gives `os.path`, `os` and `path`."""
    return _terms(words(text))


def _terms(found: Sequence[str]) -> list[str]:
    return [term for word in found for term in _terms_of(word)]


@lru_cache(maxsize=65_536)
def _terms_of(word: str) -> tuple[str, ...]:
    if word in STOP_WORDS:
        return ()
    if word.isalnum():
        return (stem(word),)
    parts = (part for part in _JOINTS.split(word) if len(part) > 1 and part not in STOP_WORDS)
    return (stem(word), *(stem(part) for part in parts))


def _compound_parts(found: Sequence[str]) -> set[str]:
    """What a text's long words may be made of, in languages that write compounds as one: `frist` of `kündigungsfrist`.

    No dictionary says where such a word is cut, so each beginning and each end of it counts: those that are no words are
    in no other text.
    """
    if COMPOUNDING_WORDS.isdisjoint(found):
        return set()
    return {part for word in found if len(word) >= LONG_WORD and word.isalpha() for part in _parts_of(word)}


@lru_cache(maxsize=16_384)
def _parts_of(word: str) -> tuple[str, ...]:
    cuts = range(SHORTEST_PART, len(word) - SHORTEST_PART + 1)
    return tuple(dict.fromkeys(stem(part) for cut in cuts for part in (word[:cut], word[cut:])))


def term_id(term: str) -> int:
    """The term as an index of a sparse vector: 32 bits."""
    return crc32(term.encode())


def chunk_weights(text: str) -> dict[int, float]:
    """The sparse vector of a chunk's text: term ids, and how much the text is about each, from 0 to 1."""
    found = words(text)
    counted = _terms(found)
    norm = _norm(len(counted))
    counts = Counter(counted)
    counts.update(_compound_parts(found))
    return {term_id(term): count / (count + norm) for term, count in counts.items()}


@lru_cache(maxsize=1024)
def question_weights(text: str) -> Mapping[int, float]:
    """The sparse vector of a question: term ids, and each one's share of the question's meaning; the shares sum to 1."""
    return {term_id(term): weight for term, weight in _shares(text).items()}


def overlap(question: str, text: str) -> float:
    """The share of the question's words that the text carries, from 0 to 1: the dot product of their sparse vectors."""
    shares = _shares(question)
    counted, parts = _read(text) if shares else ((), frozenset())
    norm = _norm(len(counted))
    # A question has a few terms: counting these is cheaper than counting all of the text's.
    counts = ((weight, counted.count(term) + (term in parts)) for term, weight in shares.items())
    return sum(weight * count / (count + norm) for weight, count in counts if count)


@lru_cache(maxsize=REMEMBERED_TEXTS)
def distinct_terms(text: str) -> frozenset[str]:
    """Each of the text's terms once."""
    return frozenset(terms(text))


@lru_cache(maxsize=REMEMBERED_TEXTS)
def _read(text: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """The text's terms, and the parts of its compounds."""
    found = words(text)
    return tuple(_terms(found)), frozenset(_compound_parts(found))


@lru_cache(maxsize=1024)
def _shares(text: str) -> Mapping[str, float]:
    found = words(text)
    rarity = {term: _rarity(term) for term in _terms(found)}
    for word in found:
        if not word.isalnum() and _is_identifier(word):
            # Who asks for an identifier by its name wants that one, not another with the same parts.
            rarity[stem(word)] = IDENTIFIER_WEIGHT
    for part in _compound_parts(found) - rarity.keys():
        rarity[part] = PART_WEIGHT
    total = sum(rarity.values())
    return {term: weight / total for term, weight in rarity.items()}


def _is_identifier(word: str) -> bool:
    """Whether a word of several parts is a name: it has a digit or an underscore, or a point within (`os.path`)."""
    return any(character.isdigit() or character in "_." for character in word)


def _norm(count: int) -> float:
    return K1 * (1 - B + B * count / USUAL_TERMS)


def blend(similarity: float, shared: float, dense_weight: float) -> float:
    """A passage's score: its cosine similarity and its overlap, weighted."""
    return dense_weight * similarity + (1 - dense_weight) * shared


def _rarity(term: str) -> float:
    rank = _ranks().get(term)
    if rank is None:
        return 1.0
    scale = math.log1p(len(COMMON_WORDS) / 200)
    return COMMONEST_WEIGHT + (1 - COMMONEST_WEIGHT) * math.log1p(rank / 200) / scale


@lru_cache(maxsize=1)
def _ranks() -> dict[str, int]:
    return {stem(word): rank for rank, word in enumerate(COMMON_WORDS)}
