"""An answer as it is kept: its events as compressed JSON, and its documents in the registry's own words."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence

from headrace.redis_state.layout import current_value
from headrace.types import AnswerEvent, Provenance, decode_events, encode_events

# Level 1 leaves a quarter of a body, as good as level 6 to a few percent, in a third of the time; zstd needs a library of
# its own below Python 3.14 and saves no more (docs/decisions.md).
COMPRESSION_LEVEL = 1


def encode_body(events: Sequence[AnswerEvent]) -> bytes:
    """The events, losslessly."""
    return zlib.compress(encode_events(events), COMPRESSION_LEVEL)


def decode_body(body: bytes) -> tuple[AnswerEvent, ...]:
    """What `encode_body` wrote. Raises zlib.error or ValueError for anything else."""
    return decode_events(zlib.decompress(body))


def encode_documents(provenance: Provenance) -> str:
    """The documents of an answer, each with what the registry must say of it: `[key, value, key, value]`."""
    pairs = ((key, current_value(generation, groups)) for key, (generation, groups) in provenance.documents.items())
    return json.dumps([text for pair in pairs for text in pair])


def decode_provenance(documents: bytes, admission_score: bytes) -> Provenance:
    """An answer's provenance; the question's vector is not kept with it. Raises ValueError."""
    texts = json.loads(documents)
    current = {key: json.loads(value) for key, value in zip(texts[::2], texts[1::2], strict=True)}
    shown = {key: (generation, tuple(groups)) for key, (generation, groups) in current.items()}
    return Provenance((), float(admission_score), shown)
