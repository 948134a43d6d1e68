"""Rule-based stand-ins for the three spaCy functions that unstructured calls.

unstructured asks spaCy for sentences, words and parts of speech, and fetches
spaCy's model from the network at run time. It uses them only to tell narrative
text from titles, for which these rules do (docs/decisions.md).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType

from headrace.text.sentences import sentence_spans

_TOKEN = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")
_VERBS = frozenset(
    """
    am is are was were be been being have has had do does did can could may might must shall should will would
    need get gets got make makes made take takes took give gives gave go goes went come comes came see sees saw
    use uses know think say says said find show shows keep keeps let put set run runs apply applies contain
    contains include includes provide provides require requires allow allows ensure check install open close
    press turn read write
    """.split()
)


def sent_tokenize(text: str) -> list[str]:
    """The text's sentences."""
    return [text[start:end] for start, end in sentence_spans(text)]


@lru_cache(maxsize=4096)
def word_tokenize(text: str) -> list[str]:
    """The text's words and punctuation marks."""
    return _TOKEN.findall(text)


@lru_cache(maxsize=4096)
def pos_tag(text: str) -> list[tuple[str, str]]:
    """Each token with VB for what looks like a verb, NN for other words, and the mark itself for punctuation."""
    return [(token, _tag(token)) for token in word_tokenize(text)]


def _tag(token: str) -> str:
    word = token.casefold()
    if not word[0].isalnum():
        return token
    looks_inflected = len(word) > 4 and word.endswith(("ed", "ing", "ize", "ise", "ify"))
    return "VB" if word in _VERBS or looks_inflected else "NN"


def install() -> None:
    """Register this module as `unstructured.nlp.tokenize`. Call before unstructured is imported."""
    module = ModuleType("unstructured.nlp.tokenize")
    module.__dict__.update(sent_tokenize=sent_tokenize, word_tokenize=word_tokenize, pos_tag=pos_tag)
    sys.modules[module.__name__] = module


@contextmanager
def without_numpy() -> Iterator[None]:
    """Import unstructured's partitioners in here: they name numpy (54 MB) in a signature, and never call it."""
    if "numpy" in sys.modules:
        yield
        return
    module = ModuleType("numpy")
    module.__dict__.update(ndarray=object)
    sys.modules["numpy"] = module
    try:
        yield
    finally:
        del sys.modules["numpy"]
