"""The words of Headrace: frozen values that every layer speaks, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

DEFAULT_TENANT = "default"
DOCUMENTS_PREFIX = "documents/"


class DocumentState(StrEnum):
    """Where a document stands on its way from the bucket to an answer."""

    QUEUED = "queued"
    PARSING = "parsing"
    EMBEDDING = "embedding"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a tenant, and the groups that the principal belongs to."""

    tenant: str = DEFAULT_TENANT
    groups: frozenset[str] = frozenset()

    @property
    def scope(self) -> Scope:
        return Scope(self.tenant, self.groups)


@dataclass(frozen=True, slots=True)
class Scope:
    """What one retrieval or one cache entry may see: a tenant and a permission set."""

    tenant: str
    groups: frozenset[str] = frozenset()

    @property
    def digest(self) -> str:
        """A short stable name for the permission set; the tenant is not part of it."""
        return hashlib.sha256("\x1f".join(sorted(self.groups)).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class DocumentKey:
    """A document's place in the bucket: `documents/<tenant>/<name>`, or `documents/<name>` for the default tenant."""

    key: str

    @property
    def tenant(self) -> str:
        head, slash, _ = self.key.removeprefix(DOCUMENTS_PREFIX).partition("/")
        return head if slash else DEFAULT_TENANT

    @property
    def name(self) -> str:
        """The path below the tenant, as people say it: `handbook.pdf`."""
        head, slash, rest = self.key.removeprefix(DOCUMENTS_PREFIX).partition("/")
        return rest if slash else head

    @property
    def is_document(self) -> bool:
        """False for keys outside `documents/`, for folder markers and for keys with no tenant or no name."""
        return self.key.startswith(DOCUMENTS_PREFIX) and not self.key.endswith("/") and bool(self.tenant and self.name)


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of an object in the bucket, as S3 describes it. `modified_at` is in seconds since the epoch."""

    key: str
    etag: str
    size_bytes: int
    modified_at: float
    version_id: str | None = None
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """The registry's record of a document. Times are in seconds since the epoch.

    `generation` is the one whose chunks a search may return now; it stays the
    old one while a new version is on its way, and is None when nothing may be
    returned. `content` names what that generation was made from, and how.
    `etag` is the object version that `state` speaks of.
    """

    key: str
    state: DocumentState
    reason: str = ""
    size_bytes: int = 0
    chunks: int = 0
    generation: int | None = None
    content: str = ""
    etag: str = ""
    version_id: str | None = None
    embedding_model: str = ""
    uploaded_at: float | None = None
    started_at: float | None = None
    updated_at: float | None = None
    ready_at: float | None = None

    @property
    def tenant(self) -> str:
        return DocumentKey(self.key).tenant

    @property
    def name(self) -> str:
        return DocumentKey(self.key).name


@dataclass(frozen=True, slots=True)
class Block:
    """One paragraph, list item or table row that a parser read. `page` counts from 1."""

    text: str
    page: int | None = None
    section: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document as it is stored. `index` is its position in the document, from 0.

    `generation` is the number of the attempt that wrote it: a later attempt's is higher.
    """

    document_key: str
    generation: int
    index: int
    text: str
    page: int | None = None
    section: tuple[str, ...] = ()

    @property
    def tenant(self) -> str:
        return DocumentKey(self.document_key).tenant

    @property
    def name(self) -> str:
        return DocumentKey(self.document_key).name

    @property
    def place(self) -> str:
        """Where a reader finds it: `page 3 · Leave › Parental leave`, or `part 2` when neither is known."""
        page = [f"page {self.page}"] if self.page is not None else []
        section = [" › ".join(self.section)] if self.section else []
        return " · ".join(page + section) or f"part {self.index + 1}"

    @property
    def text_to_embed(self) -> str:
        """The text with its context header (document › section), which is embedded but never quoted."""
        return f"{' › '.join((self.name, *self.section))}\n{self.text}"


@dataclass(frozen=True, slots=True)
class EmbeddedChunk:
    """A chunk and its unit-length embedding."""

    chunk: Chunk
    vector: Sequence[float]


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that was found. `score` is the cosine similarity to the question, from -1 to 1."""

    chunk: Chunk
    score: float


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One retrieval. `vectors` are unit-length question embeddings; a passage keeps its best score over them.

    `filter` is in the portable filter language (docs/api.md) over a chunk's
    `document`, `name`, `page` and `section`.
    """

    scope: Scope
    vectors: Sequence[Sequence[float]]
    limit: int
    filter: Mapping[str, Any] = field(default_factory=dict)


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
    """The answer enters a stage: `searching`, `answering` or `cached`."""

    stage: str
    mode: AnswerMode | None = None
    note: str = ""
    age_seconds: float | None = None


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
    """The answer is at its end. `finish_reason` is `stop`, `refused`, or `length` or `content_filter` for a partial one."""

    mode: AnswerMode
    finish_reason: str
    conversation_id: str | None = None
    cached: bool = False


AnswerEvent = StatusEvent | PassagesEvent | TokenEvent | CitationEvent | UsageEvent | DoneEvent


@dataclass(frozen=True, slots=True)
class CacheKey:
    """What an answer is remembered under.

    `fingerprint` names the model, the prompt and the retrieval settings: an
    answer made by others is another answer.
    """

    scope: Scope
    fingerprint: str
    question: str


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """A finished answer, as the events that made it. `revision` is the tenant's document revision it was made from."""

    revision: int
    created_at: float
    events: tuple[AnswerEvent, ...]
