"""Every seam on one page. An adapter satisfies one of these; a pipeline knows nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from headrace.types import (
    Attempt,
    CachedAnswer,
    CacheKey,
    CacheStats,
    ChatRequest,
    Chunk,
    ChunkId,
    Clearance,
    Document,
    DocumentKey,
    EmbeddedChunk,
    Found,
    Lookup,
    Message,
    ModelChunk,
    Neighbour,
    ObjectVersion,
    ParsedFile,
    Partition,
    Passage,
    Retired,
    SearchRequest,
    SearchResult,
    Standing,
    UploadForm,
    Wanted,
)


class Checkable(Protocol):
    """A part that can say whether it is ready."""

    async def check(self) -> None:
        """Return when the part is ready; raise a HeadraceError that says why it isn't."""


class VectorSearch(Checkable, Protocol):
    """The reading side of a vector store, as chat needs it. Raises StoreUnavailableError."""

    async def search(self, request: SearchRequest) -> SearchResult:
        """The passages with the best scores that the scope may see, at most `limit`. No collection, no passages.

        They are the best of two lists, each longer than `limit`: the nearest by embedding, and those that carry the
        question's rarest words.
        """

    async def chunks(self, tenant: str, identities: Collection[ChunkId]) -> list[Chunk]:
        """Those of these chunks that exist, by document and index: a passage's neighbours, say."""


class VectorStore(VectorSearch, Protocol):
    """Holds chunks with their embeddings, every tenant apart.

    The store may hold several generations of a document at once: which one is
    current is the registry's to say. Raises StoreUnavailableError.
    """

    async def ensure(self, dimensions: int) -> None:
        """Make the collection and its indexes if they are missing. Raises ConfigurationError for another dimension."""

    async def upsert(self, chunks: Sequence[EmbeddedChunk]) -> int:
        """Write chunks of one tenant; writing the same chunk twice leaves one. Searches find them when this returns.

        Gives the mark that a search's result must have reached to have seen them; 0 where every search has.
        """

    async def retire(self, key: DocumentKey, *, before: int) -> None:
        """Delete the document's chunks of every generation before this one."""

    async def discard(self, key: DocumentKey, *, generation: int) -> None:
        """Delete the document's chunks of this one generation."""

    async def embedded(self, tenant: str, identities: Collection[ChunkId]) -> list[EmbeddedChunk]:
        """Those of these chunks that exist, with their embeddings, by document and index."""

    async def count(self, tenant: str, *, document_key: str | None = None) -> int:
        """How many chunks the tenant, or one of its documents, has: every generation counts."""

    def scan(self, tenant: str) -> AsyncIterator[Chunk]:
        """Every chunk of the tenant, of every generation, in no order."""

    async def drop(self) -> None:
        """Delete the collection with everything in it."""


class DocumentRegistry(Checkable, Protocol):
    """The single truth about documents: their state, and which generation of each is current.

    Attempts fence writes: only the newest attempt at a document may write its record. A registry that was lost, or
    fell back in time, is noticed (`standing`), and trusted again once `open_epoch` says that it is whole.
    Raises RegistryUnavailableError.
    """

    async def begin(self, key: DocumentKey, *, embedding_model: str) -> Attempt:
        """Start an attempt at a document; every older attempt loses its right to write.

        Its number is higher than any before it, even if the registry was lost in between.
        Raises IndexMismatchError when the tenant's documents are indexed with another embedding model.
        """

    async def save(
        self, document: Document, attempt: Attempt, *, mark: int = 0, clearance: Clearance | None = None
    ) -> bool:
        """Write a record; at once, a changed generation becomes what searches see and the tenant's revision rises.

        `mark` is what the store gave for the generation's chunks. With a clearance, the doomed answers leave the cache in
        the same step, and all others hold as before; without one, none is settled any longer. False, and nothing is
        written, when answers have come in that the clearance does not cover. Raises SupersededError when a newer attempt
        has begun, and IndexMismatchError when the tenant has been switched to another embedding model.
        """

    async def remove(self, attempt: Attempt) -> None:
        """Forget the attempt's document; at once, no search sees it and the tenant's revision rises. Raises SupersededError."""

    async def get(self, key: DocumentKey) -> Document | None:
        """One record, or None."""

    async def documents(self, tenant: str) -> list[Document]:
        """Every record of a tenant, by key."""

    async def standing(self, tenant: str, keys: Collection[str] = ()) -> Standing:
        """What is current of these documents, and whether the registry can be trusted, at one moment."""

    async def open_epoch(self, tenant: str) -> None:
        """Say that the tenant's registry is whole: it has just begun, or has been rebuilt."""

    async def distrust(self, tenant: str) -> None:
        """Say that the tenant's registry is not whole: until `open_epoch`, what it says must not be served.

        The revision rises.
        """

    async def switch_model(self, tenant: str, embedding_model: str, *, revision: int, mark: int = 0) -> bool:
        """Make another model the one that the tenant is indexed with, if the revision is still this one.

        `mark` is the freshness that searches of that model's collection must have.
        """

    async def revision(self, tenant: str) -> int:
        """A number that rises with every change of what the tenant's searches can see."""

    async def tenants(self) -> list[str]:
        """Every tenant that ever had a document, by name."""


class AnswerCache(Checkable, Protocol):
    """Remembers finished answers, each within its partition, with what it rests on.

    Never gives one that rests on a document that has changed, nor any while the registry is not whole. One that others'
    new chunks might have been retrieved for is given as not settled. A cache that does not answer in time has nothing:
    no method but `check` raises.
    """

    async def find(self, key: CacheKey, *, again: bool = False) -> Lookup:
        """The answer remembered under this key, if there is one. A settled one counts as a hit; nothing does `again`."""

    async def nearest(self, partition: Partition, vector: Sequence[float], *, at_least: float) -> list[Neighbour]:
        """The cached questions whose cosine to this unit-length vector is at least so much, nearest first; a few.

        As of the last `find` in the partition, or later.
        """

    async def worded(
        self, partition: Partition, question: str, vector: Sequence[float], *, at_least: float
    ) -> list[Neighbour] | None:
        """Of these, the ones that say the same in the same words, found without looking through the others; or none.

        None when the cache did not answer in time: there is no use in asking it for more.
        """

    async def read(self, partition: Partition, neighbour: Neighbour, *, count: bool) -> Found | None:
        """The neighbour's answer, if it is still there. `count` a settled one as a hit."""

    async def remember(self, key: CacheKey, answer: CachedAnswer) -> bool:
        """Keep a finished answer, until it expires or has to make room.

        False when the tenant's revision is not the answer's any more: somebody has to look again.
        """

    async def confirm(self, key: CacheKey, found: Found, *, revision: int) -> bool:
        """Settle an answer as of this revision: its question was searched for again.

        Counts as a hit for the question under the key; True if the answer is still there.
        """

    async def retire(
        self, tenant: str, answer_ids: Sequence[str], reason: Retired, *, again: bool = False
    ) -> int | None:
        """Take answers out: how many there were, or None when the cache did not answer.

        `again`: their questions, if they had hits, are worth asking again.
        """


class CacheUpkeep(Protocol):
    """Keeps tenants' caches in order, beside live traffic and beside itself. Raises RegistryUnavailableError."""

    async def sweep(
        self, tenant: str, cursor: int, *, embedding_model: str, dry_run: bool
    ) -> tuple[int, Mapping[str, int]]:
        """Look at a page of entries from this place (0: the start), and take out what holds no more.

        The place to go on from, 0 at the end; and how many entries were found to be what: `settled`, `unsettled`,
        `expired`, `replaced`, `orphaned`, `changed` or of another `model`.
        """

    async def settle(self, tenant: str, *, dry_run: bool) -> Mapping[str, int]:
        """Hold the tenant to its quota, and pack its indexes: how many entries were `evicted`, indexes `packed`."""

    async def invalidate(
        self, tenant: str, *, document: str = "", answer_id: str = "", question: str = "", dry_run: bool
    ) -> int:
        """Take out the answers that all of what is given fits: that rest on the document, have the id, ask these words."""

    async def flush(self, tenant: str, *, dry_run: bool) -> int:
        """Take out everything: how many entries there were."""

    async def stats(self, tenant: str) -> CacheStats:
        """What the cache has done since it began, and holds."""

    async def unreported(self, tenant: str) -> CacheStats:
        """What it has done since this was last asked, and holds."""

    async def wanted(self, tenant: str, limit: int) -> list[Wanted]:
        """The retired questions that are most worth asking again."""

    async def unwant(self, tenant: str, wanted: Wanted) -> None:
        """It has been asked."""

    async def place(self) -> Mapping[str, Any]:
        """Where the last sweep of all tenants left off; empty when it came to its end."""

    async def leave_off(self, place: Mapping[str, Any] | None) -> None:
        """The next sweep is to go on here; None: it begins anew."""


class AnswerWatch(Protocol):
    """Knows which cached answers a document's new chunks would have been retrieved for."""

    async def clearance(self, tenant: str, chunks: Sequence[EmbeddedChunk], embedding_model: str) -> Clearance | None:
        """What the flip that makes these chunks current may take for granted; None when that can't be told now."""


class FlightRelay(Protocol):
    """Lets one asker's answer be followed by askers elsewhere, event by event. Raises RelayUnavailableError.

    A flight is led by whoever holds its lease, which runs out when it is not renewed.
    """

    @property
    def lease_seconds(self) -> float:
        """How long a lease lasts."""

    async def lead(self, flight: str) -> str | None:
        """Take the lead: the lease's token, or None when somebody else has it."""

    async def send(self, flight: str, lease: str, messages: Sequence[bytes], *, sent: int, ends: bool = False) -> bool:
        """Tell the followers, and renew the lease; `ends` gives it back. False when it is lost: somebody else leads.

        `sent` is how many messages were sent on this lease before: these, sent again, are heard once.
        """

    async def receive(self, flight: str, after: str, *, wait_seconds: float) -> tuple[str, list[bytes]]:
        """What was sent after this place (empty: from the start), and the place to go on from; nothing when none came."""

    async def is_led(self, flight: str) -> bool:
        """Whether anybody holds the lease."""


class Conversations(Checkable, Protocol):
    """Remembers the turns of conversations, every tenant apart. Raises RegistryUnavailableError."""

    async def history(self, tenant: str, conversation_id: str) -> list[Message]:
        """The last turns, oldest first; empty for an unknown conversation."""

    async def append(self, tenant: str, conversation_id: str, messages: Sequence[Message]) -> None:
        """Add turns at the end."""


class ChatModel(Checkable, Protocol):
    """Writes an answer from passages, citing passage n as `[n]`."""

    @property
    def name(self) -> str:
        """The model's name, as its vendor knows it."""

    @property
    def is_extractive(self) -> bool:
        """True when the text is quotes from the passages and no language model writes it."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[ModelChunk, None]:
        """Yield text as it is written, then the usage once. Raises ModelUnavailableError, also when it breaks off."""


class Embedder(Checkable, Protocol):
    """Turns texts into unit-length vectors. Raises EmbedderUnavailableError."""

    @property
    def model(self) -> str:
        """The model's name; vectors of two models can't be compared."""

    @property
    def relevance_floor(self) -> float:
        """The cosine similarity below which a passage of this model does not speak of the question."""

    @property
    def max_tokens(self) -> int:
        """How much of a text the model reads; what is longer is cut off in silence, or refused."""

    def count_tokens(self, text: str) -> int:
        """How many tokens of `max_tokens` the text takes, at most."""

    async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """One vector a text, in order, each of the same dimension and of length 1."""


class Reranker(Checkable, Protocol):
    """Reads question and passages together and says how well each answers. Raises RerankerUnavailableError."""

    @property
    def model(self) -> str:
        """The model's name, as its server knows it."""

    async def rerank(self, question: str, passages: Sequence[Passage]) -> list[float]:
        """One number a passage, in order; higher is better."""


class Parser(Checkable, Protocol):
    """Reads a file into blocks. Raises DocumentError (never readable) or ParserUnavailableError (try again)."""

    async def parse(self, path: Path, *, name: str, content_type: str) -> ParsedFile:
        """The file's text in reading order; at least one block."""


class Bucket(Checkable, Protocol):
    """Where documents live. Raises BucketUnavailableError."""

    async def fetch(self, key: str, path: Path, *, max_bytes: int) -> ObjectVersion | None:
        """Write the newest version to `path`; None when there is none. Raises DocumentError when larger than the cap."""

    async def read(self, key: str, *, max_bytes: int) -> tuple[ObjectVersion, bytes] | None:
        """The newest version of a small object and its first bytes, or None."""

    async def head(self, key: str) -> ObjectVersion | None:
        """The newest version, or None."""

    def objects(self, prefix: str) -> AsyncIterator[ObjectVersion]:
        """Every object below the prefix, by key."""

    async def tenants(self) -> list[str]:
        """Every tenant that has an object, by name."""


class Uploads(Protocol):
    """Lets others put one file into the bucket. Raises BucketUnavailableError."""

    async def form(self, key: str, *, metadata: Mapping[str, str], content_type: str, max_bytes: int) -> UploadForm:
        """A form for this object alone, with this metadata, and no larger."""


class Queue(Protocol):
    """Wakes ingest. Raises QueueUnavailableError."""

    async def send(self, bodies: Sequence[str]) -> None:
        """Put messages into the queue; they may be delivered more than once, and in any order."""
