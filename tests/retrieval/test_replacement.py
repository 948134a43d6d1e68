"""Documents are put, replaced and deleted while others search, and processes die at any await.

A search finds every live document in exactly one version, one that was current while it searched, whole; and never
anything of a deleted one.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from functions.ingest.dependencies import IngestDependencies
from functions.ingest.pipeline import synchronise
from headrace.errors import StoreUnavailableError, UnavailableError
from headrace.protocols import VectorStore
from headrace.redis_state.registry import RedisRegistry
from headrace.retrieval.retriever import RetrievalOptions, Retriever
from headrace.types import DocumentKey, DocumentState, Passage, Scope
from tests.contract.conftest import STORES, open_store
from tests.support.crashes import Crash, Fuse, Mortal
from tests.support.embedders import HashEmbedder
from tests.support.faults import Faults
from tests.support.ingest import FolderBucket, LineParser
from tests.support.scale import tries
from tests.support.witness import Witness, check_found

NAMES = ("a.txt", "b.txt", "c.txt")
STEPS = 16
HISTORIES = tries(6, 100)


@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize("seed", range(HISTORIES))
async def test_a_search_finds_each_live_document_in_exactly_one_version(
    name: str, seed: int, request: pytest.FixtureRequest, stack: AsyncExitStack, tmp_path: Path, registry: RedisRegistry
) -> None:
    url = request.getfixturevalue("search_redis_url") if name == "redis" else ""
    storm = Faults(rate=0.03 if seed % 2 else 0.0)
    store = await open_store(name, stack, tmp_path, storm, redis_url=url, is_late=True)
    history = History(random.Random(seed), store, Witness(registry), f"tenant-{name}-{seed}-{id(store):x}")
    await history.run()


class History:
    """One random history and its checks."""

    def __init__(self, generator: random.Random, store: VectorStore, witness: Witness, tenant: str) -> None:
        self._generator = generator
        self._store = store
        self._witness = witness
        self._tenant = tenant
        self._bucket = FolderBucket()
        self._embedder = HashEmbedder()
        self._done = False
        self.searches = 0

    async def run(self) -> None:
        searching = [asyncio.create_task(self._search_on()) for _ in range(2)]
        events: list[asyncio.Task[None]] = []
        for step in range(STEPS):
            events += self._change(step)
            for _ in range(self._generator.randrange(12)):
                await asyncio.sleep(0.001)
        await asyncio.gather(*events)
        self._done = True
        await asyncio.gather(*searching)
        assert self.searches
        await self._check_the_end()

    def _change(self, step: int) -> list[asyncio.Task[None]]:
        key = DocumentKey(f"documents/{self._tenant}/{self._generator.choice(NAMES)}")
        if self._generator.random() < 0.25:
            self._bucket.files.pop(key.key, None)
        else:
            words = [f"w{self._generator.getrandbits(24):x}" for _ in range(70)]
            lines = [f"{key.name} {step} {part} {' '.join(words)}" for part in range(self._generator.randint(1, 3))]
            self._bucket.put(key.key, "\n".join(lines).encode())
        return [asyncio.create_task(self._handle(key)) for _ in range(self._generator.choice((1, 1, 2)))]

    async def _handle(self, key: DocumentKey) -> None:
        """One message: its process may die, and then the message comes again."""
        for incarnation in range(4):
            steps = self._generator.randrange(45) if incarnation < 3 and self._generator.random() < 0.6 else None
            try:
                await synchronise(key, self._deps(Fuse(self._generator, steps)))
            except (Crash, UnavailableError):
                continue
            return
        await synchronise(key, self._deps(Fuse(self._generator, None)))

    def _deps(self, fuse: Fuse) -> IngestDependencies:
        deps = (self._bucket, LineParser(), self._embedder, self._store, self._witness)
        bucket, parser, embedder, store, registry = (Mortal(part, fuse) for part in deps)
        return IngestDependencies(
            bucket=bucket, parser=parser, embedder=embedder, store=store, registry=registry, max_document_bytes=10**6
        )

    async def _search_on(self) -> None:
        while not self._done:
            # A store that is being set up by a process that died says so, and is asked again.
            with suppress(StoreUnavailableError):
                await self._search()
            await asyncio.sleep(self._generator.random() * 0.005)

    async def _search(self) -> dict[str, list[Passage]]:
        weight = self._generator.choice((1.0, 0.6))
        options = RetrievalOptions(limit=100, min_similarity=-2.0, dense_weight=weight)
        retriever = Retriever(embedder=self._embedder, store=self._store, registry=self._witness, options=options)
        started = self._witness.now()
        found = (await retriever.retrieve("which one?", scope=Scope(self._tenant))).passages
        ended = self._witness.now()
        self.searches += 1
        keys = [f"documents/{self._tenant}/{name}" for name in NAMES]
        return check_found(found, self._witness, keys, started, ended)

    async def _check_the_end(self) -> None:
        """When quiet, store, registry and bucket agree."""
        passages = await self._search()
        for name in NAMES:
            key = DocumentKey(f"documents/{self._tenant}/{name}")
            await synchronise(key, self._deps(Fuse(self._generator, None)))
            content = self._bucket.files.get(key.key)
            document = await self._witness.get(key)
            count = await self._store.count(self._tenant, document_key=key.key)
            if content is None:
                assert (document, count, passages.get(key.key)) == (None, 0, None)
            else:
                assert document is not None
                assert (document.state, document.chunks) == (DocumentState.READY, count)
                text = "\n".join(p.chunk.text for p in sorted(passages[key.key], key=lambda p: p.chunk.index))
                assert text == content.decode()
