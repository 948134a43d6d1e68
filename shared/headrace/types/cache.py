"""The answer cache: what an answer is kept under, what it was made from, and what the cache says of itself."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from headrace.types.events import AnswerEvent, PassagesEvent, UsageEvent, text_of
from headrace.types.generation import Usage
from headrace.types.principals import Scope
from headrace.types.retrieval import Passage, Provenance

# Width and no-break variants of a character mean the same; a superscript does not: 10² is not 102.
_SAME_MEANING = ("<wide>", "<narrow>", "<noBreak>")
_UNIT = re.compile(r"(?<=\d)( ?[^\W\d_]{1,3})(?!\w)")


def normalise_question(question: str) -> str:
    """Equal questions, equal text: width, white space and case folded, marks at the end left out.

    A short word after a digit keeps its case, because it may be a unit: 5 MW are not 5 mW.
    """
    plain = "".join(_folded(character) for character in unicodedata.normalize("NFC", question))
    words = " ".join(plain.split())
    folded = "".join(piece if number % 2 else piece.casefold() for number, piece in enumerate(_UNIT.split(words)))
    return folded.rstrip("?!.。 ") or folded


def _folded(character: str) -> str:
    is_variant = unicodedata.decomposition(character).startswith(_SAME_MEANING)
    return unicodedata.normalize("NFKC", character) if is_variant else character


# So much of the scope's digest stands at the beginning of a partition's name: whether an answer is somebody's can be told
# from its id.
SCOPE_MARK = 8


def is_for_scope(answer_id: str, scope: Scope) -> bool:
    """Whether the answer was made within this scope."""
    return answer_id.startswith(scope.digest[:SCOPE_MARK])


@dataclass(frozen=True, slots=True)
class Partition:
    """What an answer may be shared within: nothing is ever found across partitions.

    `fingerprint` names the model, the prompt and the retrieval's settings: an answer made by others is another answer.
    The rest says what a search for its questions finds: the embedding model, the similarity's share in a score, and the
    filter, in the portable filter language; and how the answers are wanted (`AnswerOptions.key`). `name` is a short stable
    one, which begins with the scope's mark; the tenant is not part of it.
    """

    scope: Scope
    fingerprint: str
    embedding_model: str = ""
    dense_weight: float = 1.0
    filter: Mapping[str, Any] = field(default_factory=dict)
    options: str = ""

    name: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        wanted = json.dumps([self.filter, self.options], sort_keys=True)
        parts = (self.scope.digest, self.fingerprint, self.embedding_model, wanted)
        digest = hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
        object.__setattr__(self, "name", self.scope.digest[:SCOPE_MARK] + digest[:16])


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
    provenance: Provenance

    @property
    def passages(self) -> tuple[Passage, ...]:
        return next((event.passages for event in reversed(self.events) if isinstance(event, PassagesEvent)), ())

    @property
    def text(self) -> str:
        return text_of(self.events)

    @property
    def usage(self) -> Usage:
        return next((event.usage for event in self.events if isinstance(event, UsageEvent)), Usage())


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One cached answer, as a lookup found it. The documents that it was made from are current.

    While it is `fresh`, no document has come since that might have been retrieved for its question. One that is not may
    be served only after a new search has found the same passages (`AnswerCache.revalidate`). `question` is the one that
    the answer was made for; `similarity` is the cosine of the question asked to it, 1 for the same question. `version`
    tells the answer from a later one to the same question.
    """

    id: str
    question: str
    answer: CachedAnswer
    fresh: bool
    similarity: float = 1.0
    version: str = ""


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the cache says of a question. `revision` is the tenant's at that moment; None: the cache did not answer.

    `candidates` are fresh entries of near questions, nearest first, where they were asked for.
    """

    entry: CacheEntry | None
    revision: int | None
    candidates: tuple[CacheEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cached question near another one, not yet judged; `similarity` is their cosine."""

    id: str
    question: str
    similarity: float


@dataclass(frozen=True, slots=True)
class JudgeVerdict:
    """Which of the candidates answers the question wholly, by its position; None: none does. `usage` is the price."""

    choice: int | None
    usage: Usage = field(default_factory=Usage)


class InvalidationReason(StrEnum):
    """Why an answer left the cache."""

    CHANGED = "changed"  # a document that it was made from was replaced, regrouped or deleted
    SUPERSEDED = "superseded"  # a new chunk would be retrieved for its question
    WRONG = "wrong"  # an asker said so
    INVALIDATED = "invalidated"  # an operator said so
    EVICTED = "evicted"  # it had the lowest score when room was needed
    EXPIRED = "expired"
    ORPHANED = "orphaned"  # its partition's index was lost
    MODEL = "model"  # its question was embedded by another model than the configured one


@dataclass(frozen=True, slots=True)
class CacheInvalidation:
    """Which cached answers a new version of a document invalidates, so that they leave as it becomes current.

    Of all answers that the tenant's cache had taken in when `answers` of them had come, those in `entries`, as
    (partition, id), would have retrieved one of the version's chunks. No other would.
    """

    answers: int
    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a tenant's cache has done since it began, and holds.

    `judged` counts verdicts on near questions, `judge_tokens` what they cost; `semantic_hits` are those that said yes.
    `tokens_saved` are the tokens that hits did not cost; `invalidated` counts entries that left, by reason.
    """

    lookups: int
    exact_hits: int
    semantic_hits: int
    judged: int
    judge_tokens: int
    tokens_saved: int
    remembered: int
    entries: int
    bytes: int
    partitions: int
    warm_candidates: int
    invalidated: Mapping[str, int]

    @property
    def hit_rate(self) -> float:
        """The share of lookups that were hits, from 0 to 1."""
        return (self.exact_hits + self.semantic_hits) / self.lookups if self.lookups else 0.0


@dataclass(frozen=True, slots=True)
class WarmCandidate:
    """A question whose answer was invalidated after it had hits: asking it again now saves the next asker the wait.

    `groups`, `filter` and `options` say for whom; `score` orders candidates: hits, times the tokens that the answer cost.
    """

    question: str
    groups: frozenset[str]
    filter: Mapping[str, Any]
    options: str
    score: float
    name: str
