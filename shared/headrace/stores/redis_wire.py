"""Headrace's words to RediSearch's and back: hashes, the index, queries.

Only what every server with FT.* has is used (Redis 8, MemoryDB, Valkey from 8.2): TAG, NUMERIC and KNN. Tags are
digests, so that no value needs escaping, is trimmed, or can say anything in the query language.
Reference: https://redis.io/docs/latest/develop/ai/search-and-query/query/
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Sequence

from headrace.filters import AllOf, AnyOf, Condition, Filter, parse_filter
from headrace.ranking import rarest_words
from headrace.stores.payloads import payload_of
from headrace.text.lexical import chunk_weights
from headrace.types import ChunkId, EmbeddedChunk, Query, SearchRequest

# The sign between the values of a query, too: valkey-search 1.0 splits those by the index's separator.
SEPARATOR = "|"
NOTHING = "@generation:{none}"
TAGS = (
    "tenant",
    "labels",
    "document",
    "generation",
    "name",
    "section",
    "tags",
    "language",
    "on_page",
    "present",
    "missing",
    "terms",
)
SCHEMA = (*(item for tag in TAGS for item in (tag, "TAG", "SEPARATOR", SEPARATOR)), "page", "NUMERIC")


def digest(value: str) -> str:
    """What stands for a text in a tag: 16 hexadecimal digits."""
    return hashlib.blake2b(value.encode(), digest_size=8).hexdigest()


def member_of(identity: ChunkId) -> str:
    """A chunk's name within its document: `generation/position`."""
    return f"{identity.generation}/{identity.position}"


def index_arguments(name: str, prefix: str, dimensions: int) -> list[str | int]:
    """FT.CREATE's arguments. FLAT: exact, and 1.2 ms at 10,000 chunks; whoever has far more wants Qdrant."""
    vector: list[str | int] = [
        "vector",
        "VECTOR",
        "FLAT",
        6,
        "TYPE",
        "FLOAT32",
        "DIM",
        dimensions,
        "DISTANCE_METRIC",
        "COSINE",
    ]
    return [name, "ON", "HASH", "PREFIX", 1, prefix, "SCHEMA", *SCHEMA, *vector]


def hash_of(embedded: EmbeddedChunk) -> dict[str, str | bytes | int]:
    """A chunk as a hash."""
    chunk = embedded.chunk
    page = {} if chunk.page is None else {"page": chunk.page}
    may_be_missing = (
        ("page", chunk.page),
        ("section", chunk.section),
        ("tags", chunk.tags),
        ("language", chunk.language),
    )
    missing = [name for name, value in may_be_missing if value in (None, (), "")]
    return {
        "tenant": digest(chunk.tenant),
        "labels": _tags(chunk.labels),
        "document": digest(chunk.document_key),
        "name": digest(chunk.name),
        "section": _tags(chunk.section),
        "tags": _tags(chunk.tags),
        "language": _tags([chunk.language] if chunk.language else []),
        "missing": SEPARATOR.join(missing),
        "present": SEPARATOR.join(name for name, _ in may_be_missing if name not in missing),
        "terms": SEPARATOR.join(f"{term:08x}" for term in chunk_weights(chunk.text_to_embed)),
        "generation": str(chunk.generation),
        "on_page": "" if chunk.page is None else digest(str(chunk.page)),
        "vector": pack(embedded.vector),
        "chunk": json.dumps(payload_of(chunk), ensure_ascii=False, separators=(",", ":")),
        **page,
    }


def pack(vector: Sequence[float]) -> bytes:
    """A vector as the index takes it: float32, little-endian."""
    return struct.pack(f"<{len(vector)}f", *vector)


def unpack(body: bytes) -> Sequence[float]:
    """The vector that `pack` packed."""
    return struct.unpack(f"<{len(body) // 4}f", body)


def queries_of(request: SearchRequest, query: Query) -> list[str]:
    """The filter of each list that passages are taken from: everything visible, and what carries the rarest words."""
    visible = _visible(request)
    rarest = rarest_words(request, query)
    if not rarest:
        return [visible]
    return [visible, f"({visible} {_tag('terms', (f'{term:08x}' for term in rarest))})"]


def _visible(request: SearchRequest) -> str:
    everything = f"@tenant:{{{digest(request.scope.tenant)}}}"
    parts = [everything, _tag("labels", map(digest, request.scope.labels))]
    if request.without:
        parts.append(f"-{_tag('generation', map(str, sorted(request.without)))}")
    return f"({' '.join((*parts, _Compiler(everything).compile(parse_filter(request.filter))))})"


class _Compiler:
    """A filter as a query that finds at least what the filter wants.

    RediSearch 2.10 loses matches, now and then, where a negation stands within an alternative. There, a negation is
    left out, and the store checks what it gets.
    """

    def __init__(self, everything: str, *, within_or: bool = False) -> None:
        self._everything = everything
        self._within_or = within_or

    def compile(self, part: Filter) -> str:
        match part:
            case AllOf(()):
                return self._everything
            case AllOf(parts):
                return f"({' '.join(self.compile(p) for p in parts)})"
            case AnyOf(parts):
                within = _Compiler(self._everything, within_or=True)
                return f"({'|'.join(within.compile(p) for p in parts)})"
            case Condition("document" | "name", "$exists", wanted):
                return self._everything if wanted else NOTHING
            case Condition(field, "$exists", wanted):
                return f"@{'present' if wanted else 'missing'}:{{{field}}}"
            case Condition(field, "$ne", value):
                return self._none_of(field, [value])
            case Condition(field, "$nin", values):
                return self._none_of(field, values)
            case Condition(field, "$in", values):
                return _any(field, values)
            case Condition(field, "$eq", value):
                return _any(field, [value])
            case Condition(field, operator, value):
                return f"@{field}:[{_limits(operator, value)}]"

    def _none_of(self, field: str, values: Iterable[str | float]) -> str:
        return self._everything if self._within_or else f"(-{_any(field, values)})"


def _any(field: str, values: Iterable[str | float]) -> str:
    if field == "page":
        # A set of pages is one term; Valkey 8.2 takes sixteen a query.
        pages = [digest(str(int(value))) for value in values if not isinstance(value, str) and value == int(value)]
        return _tag("on_page", pages) if pages else NOTHING
    return _tag(field, (digest(str(value)) for value in values))


def _tag(field: str, tags: Iterable[str]) -> str:
    return f"@{field}:{{{SEPARATOR.join(tags)}}}"


def _limits(operator: str, value: object) -> str:
    return {
        "$gt": f"({value!r} +inf", "$gte": f"{value!r} +inf", "$lt": f"-inf ({value!r}", "$lte": f"-inf {value!r}",
    }[operator]  # fmt: skip


def _tags(values: Iterable[str]) -> str:
    return SEPARATOR.join(digest(value) for value in values)
