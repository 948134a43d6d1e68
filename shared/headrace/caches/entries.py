"""An answer as it is kept: its events as compressed JSON, and what it rests on as the registry's own words."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence

import orjson

from headrace.cache_layout import current_value
from headrace.event_codec import event_of
from headrace.types import AnswerEvent, Basis

# Level 1 leaves a quarter of a body, as good as level 6 to a few percent, in a third of the time; zstd needs a library of
# its own below Python 3.14 and saves no more (docs/decisions.md).
COMPRESSION_LEVEL = 1


def encode_events(events: Sequence[AnswerEvent]) -> bytes:
    """The events, losslessly."""
    return zlib.compress(orjson.dumps([[type(event).__name__, event] for event in events]), COMPRESSION_LEVEL)


def decode_events(body: bytes) -> tuple[AnswerEvent, ...]:
    """What `encode_events` wrote. Raises zlib.error, KeyError, TypeError or ValueError for anything else."""
    return tuple([event_of(kind, fields) for kind, fields in orjson.loads(zlib.decompress(body))])


def encode_documents(basis: Basis) -> str:
    """The documents that an answer rests on, each with what the registry must say of it: `[key, value, key, value]`."""
    pairs = ((key, current_value(generation, groups)) for key, (generation, groups) in basis.documents.items())
    return json.dumps([text for pair in pairs for text in pair])


def decode_basis(documents: bytes, bar: bytes) -> Basis:
    """What an answer rests on; the question's vector is not kept with it. Raises ValueError."""
    texts = orjson.loads(documents)
    current = {key: orjson.loads(value) for key, value in zip(texts[::2], texts[1::2], strict=True)}
    shown = {key: (generation, tuple(groups)) for key, (generation, groups) in current.items()}
    return Basis((), float(bar), shown)
