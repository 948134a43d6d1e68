"""A folder on disk as a Bucket: each file is the object `documents/<tenant>/<file>`."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from headrace.types import DocumentKey, ObjectVersion


class DiskBucket:
    """A Bucket of one tenant."""

    def __init__(self, folder: Path, tenant: str) -> None:
        self._folder = folder
        self._tenant = tenant

    async def check(self) -> None:
        """Always ready."""

    async def head(self, key: str) -> ObjectVersion | None:
        path = self._folder / DocumentKey(key).name
        if not await asyncio.to_thread(path.is_file):
            return None
        stat = path.stat()
        return ObjectVersion(key, f"{stat.st_size}-{stat.st_mtime_ns}", stat.st_size, stat.st_mtime)

    async def read(self, key: str, *, max_bytes: int) -> tuple[ObjectVersion, bytes] | None:
        version = await self.head(key)
        if version is None:
            return None
        content = await asyncio.to_thread((self._folder / DocumentKey(key).name).read_bytes)
        return version, content[:max_bytes]

    async def fetch(self, key: str, path: Path, *, max_bytes: int) -> ObjectVersion | None:
        version = await self.head(key)
        if version is not None:
            await asyncio.to_thread(shutil.copyfile, self._folder / DocumentKey(key).name, path)
        return version

    async def objects(self, prefix: str) -> AsyncIterator[ObjectVersion]:
        for path in sorted(self._folder.iterdir()):
            version = await self.head(f"documents/{self._tenant}/{path.name}")
            if version is not None and version.key.startswith(prefix):
                yield version

    async def tenants(self) -> list[str]:
        return [self._tenant]
