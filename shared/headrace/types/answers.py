"""Answers: what a model is asked, and the events that an answer is made of."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from headrace.types.documents import Chunk, Scope
from headrace.types.retrieval import Basis, Passage


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a chat model is asked: the prompt, and the passages that the prompt numbers from 1."""

    question: str
    passages: Sequence[Passage]
    messages: Sequence[Message]
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a model read and wrote; zero where no language model ran."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class ModelChunk:
    """One piece of a model's stream: some text, or (once, at the end) its usage and why it stopped.

    `finish_reason` is `stop`, `length` (it hit the token limit) or `content_filter`.
    """

    text: str = ""
    usage: Usage | None = None
    finish_reason: str = ""


@dataclass(frozen=True, slots=True)
class Citation:
    """A passage that the answer used. `quote` stands in the chunk's text at `start` to `end` (characters)."""

    number: int
    chunk: Chunk
    quote: str
    start: int
    end: int


class AnswerMode(StrEnum):
    """How an answer came about: a language model, quotes from the documents, or nothing fitted."""

    GENERATED = "generated"
    EXTRACTIVE = "extractive"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """The answer enters a stage: `searching`, `answering`, `cached`, or `restarted` (forget what came before).

    `cache` says what the answer cache had, in its first event; of a cached answer, `age_seconds` says when it was made
    and `similarity` how near its question is, as a cosine.
    """

    stage: str
    mode: AnswerMode | None = None
    note: str = ""
    age_seconds: float | None = None
    cache: str = ""
    similarity: float | None = None


@dataclass(frozen=True, slots=True)
class PassagesEvent:
    """The passages that the answer may use, best first."""

    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class CitationEvent:
    """A passage was cited for the first time."""

    citation: Citation


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """What the answer cost."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class DoneEvent:
    """The answer is at its end. `finish_reason` is `stop`, `refused`, or `length` or `content_filter` for a partial one.

    `answer_id` names the answer in the cache, where it is or may be kept.
    """

    mode: AnswerMode
    finish_reason: str
    conversation_id: str | None = None
    cached: bool = False
    answer_id: str | None = None


AnswerEvent = StatusEvent | PassagesEvent | TokenEvent | CitationEvent | UsageEvent | DoneEvent


def normalise_question(question: str) -> str:
    """Equal questions, equal text: compatibility forms, white space and case folded; a mark at the end left out."""
    folded = " ".join(unicodedata.normalize("NFKC", question).casefold().split())
    return folded.rstrip("?!. ") or folded


@dataclass(frozen=True, slots=True)
class Partition:
    """What an answer may be shared within: nothing is ever found across partitions.

    `fingerprint` names the model, the prompt and the retrieval's settings: an answer made by others is another answer.
    The rest says what a search for its questions finds: the embedding model, the similarity's share in a score, and the
    filter, in the portable filter language. `name` is a short stable one; the tenant is not part of it.
    """

    scope: Scope
    fingerprint: str
    embedding_model: str = ""
    dense_weight: float = 1.0
    filter: Mapping[str, Any] = field(default_factory=dict)

    name: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        parts = (self.scope.digest, self.fingerprint, self.embedding_model, json.dumps(self.filter, sort_keys=True))
        object.__setattr__(self, "name", hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16])


@dataclass(frozen=True, slots=True)
class CacheKey:
    """What an answer is remembered under: a question, as it was asked, within a partition.

    `id` is the entry's name within its partition, 24 hexadecimal digits: the same for equal questions.
    """

    partition: Partition
    question: str
    id: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(normalise_question(self.question).encode()).hexdigest()
        object.__setattr__(self, "id", digest[:24])

    @property
    def answer_id(self) -> str:
        """The entry's name within its tenant, as askers see it."""
        return f"{self.partition.name}-{self.id}"


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """A finished answer: the events that made it, and what it rests on.

    `revision` is the tenant's document revision that was read before anything was retrieved for it; `created_at` is in
    seconds since the epoch.
    """

    revision: int
    created_at: float
    events: tuple[AnswerEvent, ...]
    basis: Basis

    @property
    def passages(self) -> tuple[Passage, ...]:
        return next((event.passages for event in self.events if isinstance(event, PassagesEvent)), ())

    @property
    def usage(self) -> Usage:
        return next((event.usage for event in self.events if isinstance(event, UsageEvent)), Usage())


@dataclass(frozen=True, slots=True)
class Found:
    """An answer that the cache has. `similarity` is 1 for the same question.

    Its documents are current. Unless it is `settled`, others have come since it was made, and nobody has looked yet
    whether they would have been retrieved for it. `version` tells it from another answer to the same question.
    """

    id: str
    question: str
    answer: CachedAnswer
    settled: bool
    similarity: float = 1.0
    version: str = ""


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the cache says of a question. `revision` is the tenant's at that moment; None: the cache did not answer."""

    found: Found | None
    revision: int | None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A cached question near another one; `similarity` is their cosine."""

    id: str
    question: str
    similarity: float


class Retired(StrEnum):
    """Why an answer was taken out of the cache."""

    CHANGED = "changed"  # a document that it was made from changed, or went
    SUPERSEDED = "superseded"  # a new passage would be retrieved for its question
    WRONG = "wrong"  # somebody who got it said so
    INVALIDATED = "invalidated"  # taken out by hand
    EVICTED = "evicted"  # worth the least when room was needed
    EXPIRED = "expired"
    ORPHANED = "orphaned"  # its partition's index was lost
    MODEL = "model"  # its question was embedded by another model than the configured one


@dataclass(frozen=True, slots=True)
class Clearance:
    """What a flip of the registry may take for granted about cached answers.

    Of all answers that the tenant's cache took in up to number `answers`, those that the flip's new chunks would have
    been retrieved for are `doomed`, as (partition, id); no other is.
    """

    answers: int
    doomed: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a tenant's cache has done and holds. `tokens_saved` are those that hits did not cost; `retired` is by reason."""

    lookups: int
    exact_hits: int
    semantic_hits: int
    tokens_saved: int
    remembered: int
    entries: int
    bytes: int
    partitions: int
    wanted: int
    retired: Mapping[str, int]

    @property
    def hit_rate(self) -> float:
        """The share of lookups that were hits, from 0 to 1."""
        return (self.exact_hits + self.semantic_hits) / self.lookups if self.lookups else 0.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A retired question that is worth asking again: for whom, under which filter, and what it was worth."""

    question: str
    groups: frozenset[str]
    filter: Mapping[str, Any]
    worth: float
    name: str
