"""Every seam on one page. An adapter satisfies one of these; a pipeline knows nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from pathlib import Path
from typing import Protocol

from headrace.types import (
    Block,
    CachedAnswer,
    CacheKey,
    ChatRequest,
    Document,
    DocumentKey,
    EmbeddedChunk,
    Message,
    ModelChunk,
    ObjectVersion,
    Passage,
    SearchRequest,
)


class Checkable(Protocol):
    """A part that can say whether it is ready."""

    async def check(self) -> None:
        """Return when the part is ready; raise a HeadraceError that says why it isn't."""


class VectorStore(Checkable, Protocol):
    """Holds chunks with their embeddings, every tenant apart.

    The store may hold several generations of a document at once: which one is
    current is the registry's to say. Raises StoreUnavailableError.
    """

    async def ensure(self, dimensions: int) -> None:
        """Make the collection and its indexes if they are missing. Raises ConfigurationError for another dimension."""

    async def upsert(self, chunks: Sequence[EmbeddedChunk]) -> None:
        """Write chunks; writing the same chunk twice leaves one. They are searchable when this returns."""

    async def retire(self, key: DocumentKey, *, before: int) -> None:
        """Delete the document's chunks of every generation before this one."""

    async def discard(self, key: DocumentKey, *, generation: int) -> None:
        """Delete the document's chunks of this one generation."""

    async def search(self, request: SearchRequest) -> list[Passage]:
        """The best `limit` passages within the scope, best first, ties by document and index. No collection, no passages."""

    async def count(self, tenant: str, *, document_key: str | None = None) -> int:
        """How many chunks the tenant, or one of its documents, has: every generation counts."""


class DocumentRegistry(Checkable, Protocol):
    """The single truth about documents: their state, and which generation of each is current.

    Attempts fence writes: only the newest attempt at a document may write its
    record. Raises RegistryUnavailableError.
    """

    async def begin(self, key: DocumentKey) -> int:
        """Start an attempt at a document; every older attempt loses its right to write.

        Returns the attempt's number, higher than any before it, even if the registry was lost in between.
        """

    async def save(self, document: Document, *, attempt: int) -> None:
        """Write a record; at once, a changed generation becomes what searches see and the tenant's revision rises.

        Raises SupersededError when a newer attempt has begun.
        """

    async def remove(self, key: DocumentKey, *, attempt: int) -> None:
        """Forget a document; at once, no search sees it and the tenant's revision rises. Raises SupersededError."""

    async def get(self, key: DocumentKey) -> Document | None:
        """One record, or None."""

    async def documents(self, tenant: str) -> list[Document]:
        """Every record of a tenant, by key."""

    async def generations(self, tenant: str, keys: Collection[str]) -> dict[str, int]:
        """The current generation of each of these documents that has one."""

    async def revision(self, tenant: str) -> int:
        """A number that rises with every change of what the tenant's searches can see."""

    async def tenants(self) -> list[str]:
        """Every tenant that ever had a document, by name."""


class AnswerCache(Checkable, Protocol):
    """Remembers finished answers. Never serves one whose tenant's documents have changed since it was made.

    A cache that does not answer is a miss, never a fault: no method but `check` raises.
    """

    async def find(self, key: CacheKey) -> CachedAnswer | None:
        """The answer remembered under this key, if it is still current."""

    async def remember(self, key: CacheKey, answer: CachedAnswer) -> None:
        """Keep a finished answer until it expires or its tenant's revision rises."""


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

    async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """One vector a text, in order, each of the same dimension and of length 1."""


class Parser(Checkable, Protocol):
    """Reads a file into blocks. Raises DocumentError (never readable) or ParserUnavailableError (try again)."""

    async def parse(self, path: Path, *, name: str, content_type: str) -> list[Block]:
        """The file's text in reading order; at least one block."""


class Bucket(Checkable, Protocol):
    """Where documents live. Raises BucketUnavailableError."""

    async def fetch(self, key: str, path: Path, *, max_bytes: int) -> ObjectVersion | None:
        """Write the newest version to `path`; None when there is none. Raises DocumentError when larger than the cap."""

    async def head(self, key: str) -> ObjectVersion | None:
        """The newest version, or None."""

    def objects(self, prefix: str) -> AsyncIterator[ObjectVersion]:
        """Every object below the prefix, by key."""
