"""The seams of documents: the bucket they lie in, the parser that reads them, the registry that knows their state."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from headrace.protocols.checks import Checkable
from headrace.types import (
    Attempt,
    CacheInvalidation,
    Document,
    DocumentKey,
    DocumentPage,
    DocumentState,
    ObjectVersion,
    ParsedFile,
    RegistrySnapshot,
    UploadForm,
)


class DocumentRegistry(Checkable, Protocol):
    """The single truth about documents: their state, and which generation of each is current.

    Attempts fence writes: only the newest attempt at a document may write its record. A registry that was lost, or
    fell back in time, is noticed (`snapshot`), and trusted again once `open_epoch` says that it is whole.
    Raises RegistryUnavailableError.
    """

    async def begin(self, key: DocumentKey, *, embedding_model: str) -> Attempt:
        """Start an attempt at a document; every older attempt loses its right to write.

        Its number is higher than any before it, even if the registry was lost in between.
        Raises IndexMismatchError when the tenant's documents are indexed with another embedding model.
        """

    async def save(
        self,
        document: Document,
        attempt: Attempt,
        *,
        watermark: int = 0,
        invalidation: CacheInvalidation | None = None,
    ) -> bool:
        """Write a record. If its generation or groups changed, searches see that at once, and the revision rises.

        `watermark` is what the store gave for the generation's chunks. With an invalidation, its entries leave the answer
        cache in the same step and all others stay fresh; without one, every entry needs revalidation. Returns False,
        with nothing written, when the cache has taken in answers that the invalidation does not cover. Raises
        SupersededError when a newer attempt has begun, and IndexMismatchError when the tenant has been switched to
        another embedding model.
        """

    async def remove(self, attempt: Attempt) -> None:
        """Delete the record of the attempt's document; searches stop seeing it at once. Raises SupersededError."""

    async def get(self, key: DocumentKey) -> Document | None:
        """One record, or None."""

    async def documents(self, tenant: str) -> list[Document]:
        """Every record of a tenant, by key. There may be very many: who shows them takes pages."""

    async def page(
        self, tenant: str, *, after: str = "", prefix: str = "", state: DocumentState | None = None, limit: int = ...
    ) -> DocumentPage:
        """Up to `limit` records by key, behind the key `after`: those whose key begins with `prefix`, in that state."""

    async def latest_change(self, tenant: str) -> str:
        """Where the tenant's changes stand now: what `changes` goes on from."""

    async def changes(self, tenant: str, after: str, *, wait_seconds: float) -> tuple[str, list[str]]:
        """Where the changes stand, and the keys of the records that were written or removed after that position.

        Waits for the first one, `wait_seconds` at most; no keys when there was none as long as it waited.
        """

    async def snapshot(self, tenant: str, keys: Collection[str] = ()) -> RegistrySnapshot:
        """What is current of these documents, and whether the registry can be trusted, at one moment."""

    async def open_epoch(self, tenant: str) -> None:
        """Declare the tenant's registry whole: it has just begun, or has been rebuilt."""

    async def distrust(self, tenant: str) -> None:
        """Declare the tenant's registry incomplete: nothing is served from it until `open_epoch`. The revision rises."""

    async def switch_model(self, tenant: str, embedding_model: str, *, revision: int, watermark: int = 0) -> bool:
        """Make another model the one that the tenant is indexed with, if the revision is still this one.

        `watermark` is the freshness that searches of that model's collection must have.
        """

    async def revision(self, tenant: str) -> int:
        """A number that rises with every change of what the tenant's searches can see."""

    async def tenants(self) -> list[str]:
        """Every tenant that ever had a document, by name."""


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


class Files(Protocol):
    """The bucket's files, for others to put there and to read by themselves. Raises BucketUnavailableError."""

    async def form(
        self, key: str, *, metadata: Mapping[str, str], content_type: str, max_bytes: int, create_only: bool
    ) -> UploadForm:
        """A form for this object alone, with this metadata, and no larger.

        `create_only`: what is uploaded with it never takes the place of a document that can be searched.
        """

    async def link(self, key: str, version_id: str) -> tuple[str, float]:
        """A URL that reads this version of the object, and until when it does (seconds since the epoch)."""

    async def remove(self, keys: Sequence[str]) -> None:
        """Delete these objects at once; what is not there is none of them."""


class Queue(Protocol):
    """Wakes ingest. Raises QueueUnavailableError."""

    async def send(self, bodies: Sequence[str]) -> None:
        """Put messages into the queue; they may be delivered more than once, and in any order."""

    async def show_again(self, receipt: str, *, seconds: int) -> None:
        """Have a message that was received, and could not be dealt with, come again in so many seconds."""
