"""Retrieval: what is searched for, and what is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace.types.documents import Chunk
from headrace.types.principals import Scope


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that was found.

    `score` is what passages are ranked by: the cosine similarity of question and chunk, and the share of the question's
    words that the chunk carries, weighted (headrace.text.lexical). It depends on question and chunk alone, so it means the
    same on every store. `similarity` is that cosine, from -1 to 1; a store that measures the score alone leaves it to
    the retriever. `found_by` is the text of the query whose score it is, `context` the text around the chunk, itself
    included, where more than the chunk is to be read.
    """

    chunk: Chunk
    score: float
    similarity: float | None = None
    found_by: str = ""
    context: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """One way of asking: its text, and the unit-length embedding of it."""

    text: str
    vector: Sequence[float]


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One retrieval. A passage found by several queries keeps its best score.

    `dense_weight`, from 0 to 1, is the share of the similarity in a score; the words have the rest.
    `filter` is in the portable filter language (docs/api.md) over a chunk's `document`, `name`, `page`, `section`, `tags`
    and `language`.
    `without` are generations that are not to be found.
    """

    scope: Scope
    queries: Sequence[Query]
    limit: int
    dense_weight: float = 1.0
    filter: Mapping[str, Any] = field(default_factory=dict)
    without: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found, best first, ties by document and index.

    `watermark` says how fresh the searched data were: every write up to it was seen. A store that always shows its
    newest writes gives None.
    """

    passages: tuple[Passage, ...]
    watermark: int | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the outcome of a retrieval depends on, so that a change of documents can be held against it.

    The outcome changes only if one of `documents` (by key: the generation and the groups it has) changes, or a chunk
    comes that the retrieval may see and whose score reaches `admission_score`. `vector` is the question's unit-length
    embedding.
    """

    vector: Sequence[float]
    admission_score: float
    documents: Mapping[str, tuple[int, tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """The passages that may answer, best first, and what that choice depends on.

    `is_sure` is whether one of them is so near to the question that it surely speaks of it. `nearest` names the documents
    that came nearest, whether or not they are near enough.
    """

    passages: tuple[Passage, ...]
    provenance: Provenance
    is_sure: bool = True
    nearest: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RegistrySnapshot:
    """What the registry says of some of a tenant's documents, at one moment.

    `epoch` names one life of the registry: empty when it never began, or was lost. `newest_attempt` is at least as high
    as every generation that was ever written. `watermark` is the freshness that a search must have had. `current`
    holds, by key, the generation that may be shown, and the groups that may see it.
    """

    epoch: str
    newest_attempt: int
    watermark: int
    embedding_model: str
    current: Mapping[str, tuple[int, tuple[str, ...]]]
