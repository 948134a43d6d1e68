"""The seams of retrieval: stores of chunks, embedding models, reranking models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Protocol

from headrace.protocols.checks import Checkable
from headrace.types import Chunk, ChunkId, DocumentKey, EmbeddedChunk, Passage, SearchRequest, SearchResult


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

    The store may hold several generations of a document at once; the registry decides which one is current.
    Raises StoreUnavailableError.
    """

    async def ensure(self, dimensions: int) -> None:
        """Make the collection and its indexes if they are missing. Raises ConfigurationError for another dimension."""

    async def upsert(self, chunks: Sequence[EmbeddedChunk]) -> int:
        """Write chunks of one tenant; writing the same chunk twice leaves one. Searches find them when this returns.

        Returns the watermark that a search's result must have reached to have seen them; 0 where every search has.
        """

    async def delete_older(self, key: DocumentKey, *, before: int) -> None:
        """Delete the document's chunks of every generation before this one."""

    async def delete_generation(self, key: DocumentKey, *, generation: int) -> None:
        """Delete the document's chunks of this one generation."""

    async def embedded(self, tenant: str, identities: Collection[ChunkId]) -> list[EmbeddedChunk]:
        """Those of these chunks that exist, with their embeddings, by document and index."""

    async def count(self, tenant: str, *, document_key: str | None = None) -> int:
        """How many chunks the tenant, or one of its documents, has: every generation counts."""

    def scan(self, tenant: str) -> AsyncIterator[Chunk]:
        """Every chunk of the tenant, of every generation, in no order."""

    async def drop(self) -> None:
        """Delete the collection with everything in it."""


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
