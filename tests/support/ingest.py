"""A bucket in memory and a parser of plain lines, for histories that no server would be told."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from headrace.errors import DocumentError
from headrace.types import SIDECAR_SUFFIX, Block, DocumentKey, ObjectVersion, ParsedFile


class FolderBucket:
    """A Bucket in memory, for histories that no server would be told."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.groups: dict[str, tuple[str, ...]] = {}
        self.modified_at: dict[str, float] = {}
        self.create_only: dict[str, str] = {}
        # Where objects are encrypted, an ETag names the upload and not the content.
        self.salt = ""

    def put(self, key: str, content: bytes, *, groups: tuple[str, ...] = (), create_only: str = "") -> None:
        self.files[key] = content
        self.groups[key] = groups
        self.modified_at[key] = time.time()
        self.create_only[key] = create_only

    async def check(self) -> None:
        """Always ready."""

    async def read(self, key: str, *, max_bytes: int) -> tuple[ObjectVersion, bytes] | None:
        version = await self.head(key)
        return None if version is None else (version, self.files[key][:max_bytes])

    async def head(self, key: str) -> ObjectVersion | None:
        await asyncio.sleep(0)
        content = self.files.get(key)
        return None if content is None else self._version(key, content)

    async def fetch(self, key: str, path: Path, *, max_bytes: int) -> ObjectVersion | None:
        await asyncio.sleep(0)
        content = self.files.get(key)
        if content is None:
            return None
        version = self._version(key, content)
        if version.size_bytes > max_bytes:
            raise DocumentError("The file is too large.")
        await asyncio.to_thread(path.write_bytes, content)
        return version

    async def objects(self, prefix: str) -> AsyncIterator[ObjectVersion]:
        for key in sorted(self.files):
            version = await self.head(key)
            if key.startswith(prefix) and version is not None:
                yield replace(version, groups=())

    async def tenants(self) -> list[str]:
        await asyncio.sleep(0)
        return sorted({DocumentKey(key).tenant for key in self.files if not key.endswith(SIDECAR_SUFFIX)})

    def _version(self, key: str, content: bytes) -> ObjectVersion:
        etag = hashlib.md5(content + self.salt.encode(), usedforsecurity=False).hexdigest()
        labels = {"groups": self.groups[key], "create_only": self.create_only[key]}
        return ObjectVersion(key, etag, len(content), self.modified_at[key], **labels)  # type: ignore[arg-type]


class LineParser:
    """A Parser for plain lines; a file that begins with `!` can't be read."""

    async def check(self) -> None:
        """Always ready."""

    async def parse(self, path: Path, *, name: str, content_type: str) -> ParsedFile:
        text = await asyncio.to_thread(path.read_text)
        if text.startswith("!"):
            raise DocumentError("The file begins with a bang. Take it away.")
        return ParsedFile([Block(line) for line in text.splitlines() if line])
