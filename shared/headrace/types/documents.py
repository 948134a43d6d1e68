"""Documents: who owns them, where they stand, and the pieces that they are cut into."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from headrace.types.principals import DEFAULT_TENANT, OPEN, label

DOCUMENTS_PREFIX = "documents/"
GROUPS_FOLDER = "groups="
# What a file's labels may stand in, beside it: `handbook.pdf.metadata.json`.
SIDECAR_SUFFIX = ".metadata.json"
# A document that is not final, and that no attempt has written of for so long, is abandoned: twice the time for which the
# queue hides a message that an attempt holds.
ABANDONED_SECONDS = 3600.0
# How far S3's clock and a function's may be apart.
CLOCK_SLACK_SECONDS = 120
# A group that nobody can be in, for no group's name has a comma: for a document whose readers are not known yet.
NO_READERS = (",",)


class DocumentState(StrEnum):
    """Where a document stands on its way from the bucket to an answer."""

    QUEUED = "queued"
    PARSING = "parsing"
    EMBEDDING = "embedding"
    READY = "ready"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether the document needs no more work: it is searchable, or its record says why it is not."""
        return self in {DocumentState.READY, DocumentState.FAILED}


def read_names(text: str) -> tuple[str, ...]:
    """Names of groups or tags separated by commas, each once, sorted: `hr, board` is `("board", "hr")`."""
    return tuple(sorted({name.strip() for name in text.split(",")} - {""}))


@dataclass(frozen=True, slots=True)
class DocumentKey:
    """A document's place in the bucket: `documents/<tenant>/<name>`, or `documents/<name>` for the default tenant.

    A folder called `groups=hr,board` opens what is below it to these groups alone; the innermost one counts.
    """

    key: str

    @property
    def tenant(self) -> str:
        head, slash, _ = self.key.removeprefix(DOCUMENTS_PREFIX).partition("/")
        return head if slash and not head.startswith(GROUPS_FOLDER) else DEFAULT_TENANT

    @property
    def name(self) -> str:
        """The path below the tenant, as people say it: `handbook.pdf`."""
        path = self.key.removeprefix(DOCUMENTS_PREFIX)
        head, slash, rest = path.partition("/")
        return rest if slash and not head.startswith(GROUPS_FOLDER) else path

    @property
    def groups(self) -> tuple[str, ...] | None:
        """The groups that the innermost `groups=` folder names, sorted; None when there is no such folder."""
        folders = [part for part in self.key.split("/")[:-1] if part.startswith(GROUPS_FOLDER)]
        return read_names(folders[-1].removeprefix(GROUPS_FOLDER)) if folders else None

    @property
    def is_document(self) -> bool:
        """False for keys outside `documents/`, for folder markers, sidecars, and keys with no tenant or no name."""
        inside = self.key.startswith(DOCUMENTS_PREFIX) and not self.key.endswith(("/", SIDECAR_SUFFIX))
        return inside and bool(self.tenant and self.name)

    @property
    def sidecar(self) -> str:
        """The key of the object that may say who sees the document, and what it is about."""
        return f"{self.key}{SIDECAR_SUFFIX}"

    @property
    def labelled(self) -> DocumentKey:
        """The document that this key speaks of: a sidecar speaks of the file beside it."""
        return DocumentKey(self.key.removesuffix(SIDECAR_SUFFIX))


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What `<key>.metadata.json` says of a document. `fault` is why it can't be understood, empty when it can."""

    etag: str
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of an object in the bucket, as S3 describes it. `modified_at` is in seconds since the epoch.

    `groups` and `tags` are those that the object's metadata names (`x-amz-meta-groups: hr, board`), `create_only` is the
    mark of a form that may replace nothing; a listing does not tell them, nor the sidecar.
    """

    key: str
    etag: str
    size_bytes: int
    modified_at: float
    version_id: str | None = None
    content_type: str = ""
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    sidecar: Sidecar | None = None
    create_only: str = ""

    @property
    def replaces_nothing(self) -> bool:
        """Whether the object was put here with a form that may replace no document (`create_only_mark`).

        A copy under another key, or one that is made later (an old version restored), is its owner's doing.
        """
        mark, _, end = self.create_only.partition("-")
        return end.isdigit() and mark == _digest(self.key) and self.modified_at <= int(end) + CLOCK_SLACK_SECONDS


def create_only_mark(key: str, expires_at: float) -> str:
    """The metadata `create-only` of a form for this key, which holds until then (seconds since the epoch)."""
    return f"{_digest(key)}-{int(expires_at)}"


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:16]


class Step(NamedTuple):
    """One entry of a document's history: what it became, when (seconds since the epoch), and why."""

    at: float
    state: DocumentState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """Some of a tenant's documents, by key, those that not everybody may see among them.

    `next` is what the next page begins behind, empty at the end. `labels` counts all documents of the tenant by state and
    groups.
    """

    documents: tuple[Document, ...]
    next: str
    labels: Mapping[tuple[DocumentState, tuple[str, ...]], int]

    def counts(self, may_see: Callable[[tuple[str, ...]], bool]) -> dict[DocumentState, int]:
        """How many documents are in each state, of those that somebody may see."""
        counts = dict.fromkeys(DocumentState, 0)
        for (state, groups), number in self.labels.items():
            counts[state] += number if may_see(groups) else 0
        return counts


@dataclass(frozen=True, slots=True)
class Document:
    """The registry's record of a document. Times are in seconds since the epoch.

    `generation` is the one whose chunks a search may return now; it stays the
    old one while a new version is on its way, and is None when nothing may be
    returned. `content` names what that generation was made from, and how.
    `etag` is the object version that `state` speaks of, `sidecar` the one of its sidecar, and `pipeline` names the recipe
    that made it final: empty while it is on its way, or was given up. `groups` may see the document; none: everybody of the
    tenant. `draft` is a generation that an attempt has begun to write and the next one may take over, `progress` the
    share of it, from 0 to 1. `context_tokens` are what a language model read and wrote for the chunks' contexts.
    `notes` are sentences about what of the file was left out, or could not be made sure of.
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
    sidecar: str = ""
    pipeline: str = ""
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    language: str = ""
    draft: int | None = None
    progress: float | None = None
    context_tokens: int = 0
    notes: tuple[str, ...] = ()
    uploaded_at: float | None = None
    started_at: float | None = None
    updated_at: float | None = None
    ready_at: float | None = None
    history: tuple[Step, ...] = ()

    def is_abandoned(self, now: float, *, after_seconds: float = ABANDONED_SECONDS) -> bool:
        """Whether no attempt works on it although it is not final: the last one died, and its message with it."""
        return not self.state.is_final and (self.updated_at or 0.0) < now - after_seconds

    @property
    def tenant(self) -> str:
        return DocumentKey(self.key).tenant

    @property
    def name(self) -> str:
        return DocumentKey(self.key).name


def tenant_prefix(tenant: str) -> str:
    """What a tenant's keys begin with; the default tenant's documents lie beside the other tenants' folders."""
    return DOCUMENTS_PREFIX if tenant == DEFAULT_TENANT else f"{DOCUMENTS_PREFIX}{tenant}/"


@dataclass(frozen=True, slots=True)
class UploadForm:
    """A signed form: a POST of `fields`, and of the file after them, to `url`, until `expires_at` (since the epoch)."""

    url: str
    fields: Mapping[str, str]
    expires_at: float


class Attempt(NamedTuple):
    """One try at bringing a document up to date. Its number is the generation of the chunks that it writes."""

    key: DocumentKey
    number: int
    embedding_model: str


@dataclass(frozen=True, slots=True)
class Block:
    """One paragraph, list item or table row that a parser read. `page` counts from 1.

    `cells` are a table row's (label, value) pairs, which `text` says as `label: value; label: value`. `spot` is where it
    stands in a file that has no pages: `row 12`, `employees[3]`.
    """

    text: str
    page: int | None = None
    section: tuple[str, ...] = ()
    cells: tuple[tuple[str, str], ...] = ()
    spot: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence about what a reader left out, or could not make sure of."""

    text: str


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """What a parser read: blocks in reading order, and the language as ISO 639-1 says it, empty when unknown.

    `notes` are sentences about what was left out, or could not be made sure of.
    """

    blocks: Sequence[Block]
    language: str = ""
    notes: tuple[str, ...] = ()


class ChunkId(NamedTuple):
    """What a chunk is known by: the document, the generation, and the position in it from 0."""

    document_key: str
    generation: int
    position: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document as it is stored. `index` is its position in the document, from 0.

    `generation` is the number of the attempt that wrote it: a later attempt's is higher. `total` is how many chunks
    that generation has, and `etag` the object version that it was made from. `lead`, the end of the chunk before it, and
    `context`, what a language model says about its place in the document, are embedded but never quoted; `html` is the
    chunk's table, where it has one. `spot` is where it stands in a file that has no pages: `row 12–18`, `employees[3]`.
    """

    document_key: str
    generation: int
    index: int
    text: str
    page: int | None = None
    section: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    total: int = 0
    etag: str = ""
    tags: tuple[str, ...] = ()
    language: str = ""
    lead: str = ""
    context: str = ""
    html: str = ""
    spot: str = ""

    @property
    def tenant(self) -> str:
        return DocumentKey(self.document_key).tenant

    @property
    def name(self) -> str:
        return DocumentKey(self.document_key).name

    @property
    def labels(self) -> tuple[str, ...]:
        """Who may see the chunk, in the words that stores filter by (`Scope.labels`)."""
        return tuple(label(group) for group in self.groups) or (OPEN,)

    @property
    def identity(self) -> ChunkId:
        return ChunkId(self.document_key, self.generation, self.index)

    @property
    def place(self) -> str:
        """Where a reader finds it: `page 3 · Leave › Parental leave`, `row 12–18`, or `part 2` when none of it is known."""
        page = [f"page {self.page}"] if self.page is not None else []
        section = [" › ".join(self.section)] if self.section else []
        spot = [self.spot] if self.spot else []
        return " · ".join(page + section + spot) or f"part {self.index + 1}"

    @property
    def text_to_embed(self) -> str:
        """The text with its header (document › section), its context and its lead, which are never quoted."""
        header = " › ".join((self.name, *self.section))
        return "\n".join(filter(None, (header, self.context, self.lead, self.text)))


@dataclass(frozen=True, slots=True)
class EmbeddedChunk:
    """A chunk and its unit-length embedding."""

    chunk: Chunk
    vector: Sequence[float]
