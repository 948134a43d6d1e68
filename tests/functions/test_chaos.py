"""Files, sidecars and metadata change while workers die, and their messages come late, twice and in any order.

At every moment a search finds a live document in exactly one version, whole. When the queue is empty, bucket, registry
and store agree, and whatever does not says why.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from functions.ingest.dependencies import IngestDependencies
from functions.ingest.labels import observe, readers_of, tags_of
from functions.ingest.main import handle_batch
from functions.ingest.pipeline import synchronise
from headrace.protocols import VectorStore
from headrace.queues.messages import object_changed
from headrace.redis_state.registry import RedisRegistry
from headrace.retrieval.retriever import RetrievalOptions, Retriever
from headrace.stores.edge import open_embedded_store
from headrace.types import ABANDONED_SECONDS, Chunk, Document, DocumentKey, DocumentState, Passage, Scope
from tests.support.crashes import Crash, Fuse, Mortal
from tests.support.embedders import HashEmbedder
from tests.support.ingest import FolderBucket, LineParser
from tests.support.scale import tries
from tests.support.sqs import ChaoticQueue, Held
from tests.support.witness import Witness, check_found

NAMES = ("a.txt", "b.txt")
GROUPS = ("hr", "ops")
CHANGES = 8
SHARES = 6
HISTORIES = tries(60, 1_700)


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[VectorStore]:
    async with open_embedded_store(tmp_path / "engine", collection="chaos") as store:
        # While a collection's indexes are made a search may say so (tests/retrieval/test_replacement.py), not later.
        [example] = await HashEmbedder().embed(["x"])
        await store.ensure(len(example))
        yield store


@dataclass
class Tally:
    """What the histories went through, so that none of it is missed in silence."""

    seen: Counter[str] = field(default_factory=Counter)


@pytest.mark.parametrize("share", range(SHARES))
async def test_whatever_dies_bucket_registry_and_store_agree_in_the_end(
    share: int, embedded: VectorStore, registry: RedisRegistry, tenant: str
) -> None:
    tally = Tally()
    for number in range(HISTORIES):
        seed = share * HISTORIES + number
        history = History(random.Random(seed), embedded, Witness(registry), f"{tenant}-{seed}", tally)
        try:
            await history.run()
        except AssertionError as error:
            raise AssertionError(f"history {seed}: {error}") from error
    assert tally.seen["crash"] > HISTORIES
    assert tally.seen["search"] > HISTORIES
    assert tally.seen["abandoned"] <= HISTORIES / 20, "messages are hardly ever lost"
    assert tally.seen["given up"] < tally.seen["ready"] / 3, "most documents have to come through"
    for kind in ("ready", "unreadable", "absent", "continued", "relabelled"):
        assert tally.seen[kind], kind


def paragraph(title: str) -> str:
    """A text of its own for every title, more than half as long as a chunk."""
    words = random.Random(title)
    return f"{title} {' '.join(f'w{words.getrandbits(24):x}' for _ in range(70))}"


class History:
    """One random history: a bucket, its queue, workers that die, and somebody who searches all the time."""

    def __init__(
        self, generator: random.Random, store: VectorStore, witness: Witness, tenant: str, tally: Tally
    ) -> None:
        self._generator = generator
        self._store = store
        self._witness = witness
        self._tenant = tenant
        self._tally = tally
        self._bucket = FolderBucket()
        self._queue = ChaoticQueue(generator)
        self._embedder = HashEmbedder()
        self._quiet = False

    async def run(self) -> None:
        searching = asyncio.create_task(self._search_on())
        await self._until_quiet(CHANGES)
        # What maintenance does an hour later: the last delivery of a message may die when its twin has been buried.
        asked = CHANGES
        while abandoned := await self._abandoned():
            asked += len(abandoned)
            self._tally.seen["abandoned"] += len(abandoned)
            await self._queue.send(abandoned)
            await self._until_quiet(0)
        self._quiet = True
        await searching
        continued = self._queue.sent - asked
        self._tally.seen.update(sent=self._queue.sent, buried=self._queue.buried, continued=continued)
        await self._check_the_end()

    async def _abandoned(self) -> list[str]:
        later = time.time() + 2 * ABANDONED_SECONDS
        documents = await self._witness.documents(self._tenant)
        return [object_changed(document.key) for document in documents if document.is_abandoned(later)]

    async def _until_quiet(self, changes: int) -> None:
        workers: set[asyncio.Task[None]] = set()
        while changes or workers or not self._queue.is_empty:
            if changes and self._generator.random() < 0.4:
                changes -= 1
                await self._queue.send([object_changed(self._change(changes))])
            if len(workers) < 3 and (received := self._queue.receive()):
                workers.add(asyncio.create_task(self._work(*received)))
            await asyncio.sleep(0.0002)
            done = {worker for worker in workers if worker.done()}
            workers -= done
            for worker in done:
                worker.result()
            # The queue's time goes by invocations: what comes again comes long after the one that failed.
            if done or not workers:
                self._queue.tick()

    def _change(self, step: int) -> str:
        """Change something; gives the key that S3 would speak of."""
        key = DocumentKey(f"documents/{self._tenant}/{self._generator.choice(NAMES)}")
        match self._generator.choice(
            ("put", "put", "put", "put", "delete", "sidecar", "no sidecar", "metadata", "again")
        ):
            case "put":
                lines = [paragraph(f"{key.name} {self._generator.randrange(4)} {part}") for part in range(8)]
                count = self._generator.randint(1, len(lines))
                # One in ten can't be read.
                bang = "!" if self._generator.random() < 0.1 else ""
                self._bucket.put(key.key, (bang + "\n".join(lines[:count])).encode(), groups=self._groups())
            case "delete":
                self._bucket.files.pop(key.key, None)
            case "sidecar":
                labels = {"tags": [f"tag-{step}"], **({"groups": list(groups)} if (groups := self._groups()) else {})}
                self._bucket.put(key.sidecar, json.dumps(labels).encode())
                return key.sidecar
            case "no sidecar":
                self._bucket.files.pop(key.sidecar, None)
                return key.sidecar
            case "metadata" if key.key in self._bucket.files:
                self._bucket.put(key.key, self._bucket.files[key.key], groups=self._groups())
        return key.key

    def _groups(self) -> tuple[str, ...]:
        return self._generator.choice(((), (), ("hr",), ("hr", "ops")))

    async def _work(self, event: dict[str, Any], held: dict[int, Held]) -> None:
        """One invocation; when it dies, nobody deletes its messages."""
        steps = self._generator.randrange(60) if self._generator.random() < 0.3 else None
        deps = self._deps(Fuse(self._generator, steps))
        try:
            answer = await handle_batch(event, deps, deadline_seconds=60.0)
        except Crash:
            self._tally.seen["crash"] += 1
            failed = {str(record["messageId"]) for record in event["Records"]}
        else:
            failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        self._queue.settle(event, held, failed)

    def _deps(self, fuse: Fuse) -> IngestDependencies:
        deps = (self._bucket, LineParser(), self._embedder, self._store, self._witness, self._queue)
        bucket, parser, embedder, store, registry, queue = (Mortal(part, fuse) for part in deps)
        return IngestDependencies(
            bucket=bucket,
            parser=parser,
            embedder=embedder,
            store=store,
            registry=registry,
            queue=queue,
            max_document_bytes=10**6,
            dead_letters_arn=ChaoticQueue.DEAD_LETTERS_ARN,
            window=2,
            clock=self._clock,
            wait_seconds=0.0,
        )

    def _clock(self) -> float:
        """A clock that now and then stands at the end of the time."""
        return self._generator.choice((0.0,) * 12 + (1e9,))

    async def _search_on(self) -> None:
        while not self._quiet:
            await self._search()
            await asyncio.sleep(0.001)

    async def _search(self) -> dict[str, list[Passage]]:
        options = RetrievalOptions(limit=100, min_similarity=-2.0, dense_weight=1.0)
        retriever = Retriever(embedder=self._embedder, store=self._store, registry=self._witness, options=options)
        started = self._witness.now()
        found = (await retriever.retrieve("which one?", scope=Scope(self._tenant, frozenset(GROUPS)))).passages
        ended = self._witness.now()
        self._tally.seen["search"] += 1
        keys = [f"documents/{self._tenant}/{name}" for name in NAMES]
        return check_found(found, self._witness, keys, started, ended)

    async def _check_the_end(self) -> None:
        found = await self._search()
        stored: dict[str, list[Chunk]] = {}
        async for chunk in self._store.scan(self._tenant):
            stored.setdefault(chunk.document_key, []).append(chunk)
        for name in NAMES:
            key = DocumentKey(f"documents/{self._tenant}/{name}")
            await self._check_document(key, sorted(stored.get(key.key, []), key=lambda c: c.index), found)

    async def _check_document(self, key: DocumentKey, chunks: list[Chunk], found: dict[str, list[Passage]]) -> None:
        document = await self._witness.get(key)
        seen = await observe(key, self._bucket)
        if seen is None:
            assert (document, chunks) == (None, []), "something is left of a deleted document"
            self._tally.seen["absent"] += 1
            return
        assert document is not None, "a file was forgotten"
        text = self._bucket.files[key.key].decode()
        if document.state is DocumentState.FAILED:
            assert document.reason
            # It can't be read, or each try at it ended the worker: then an old version may stay.
            assert not document.pipeline or (text.startswith("!") and chunks == [])
            self._tally.seen["unreadable" if document.pipeline else "given up"] += 1
            return
        assert document.state is DocumentState.READY, document
        assert (document.etag, document.groups, document.tags) == (seen.etag, readers_of(seen), tags_of(seen))
        assert [chunk.index for chunk in chunks] == list(range(document.chunks)), "the store has more or less"
        labels = {(c.generation, c.groups, c.tags, c.etag, c.total) for c in chunks}
        assert labels == {(document.generation, document.groups, document.tags, seen.etag, document.chunks)}
        assert "\n".join(chunk.text for chunk in chunks).split() == text.split()
        assert len(found.get(key.key, [])) == len(chunks)
        self._tally.seen["ready"] += 1
        self._tally.seen["relabelled"] += bool(document.tags)


async def test_each_step_of_a_replacement_may_be_the_last(
    embedded: VectorStore, registry: RedisRegistry, tenant: str
) -> None:
    step = 0
    while await dies_at(step, embedded, registry, tenant):
        step += 1
    assert step > 40, "there are more awaits than that"


async def dies_at(step: int, store: VectorStore, registry: RedisRegistry, tenant: str) -> bool:
    """Replace a document by a process that dies after so many steps, then by one that lives; False when it outlived them."""
    key = DocumentKey(f"documents/{tenant}/{step}.txt")
    bucket, embedder, generator = FolderBucket(), HashEmbedder(), random.Random(step)
    retriever = Retriever(
        embedder=embedder, store=store, registry=registry,
        options=RetrievalOptions(limit=100, min_similarity=-2.0, dense_weight=1.0),
    )  # fmt: skip

    def deps(steps: int | None) -> IngestDependencies:
        fuse = Fuse(generator, steps)
        mortal = (Mortal(part, fuse) for part in (bucket, LineParser(), embedder, store, registry))
        bucket_, parser, embedder_, store_, registry_ = mortal
        return IngestDependencies(
            bucket=bucket_, parser=parser, embedder=embedder_, store=store_, registry=registry_,
            max_document_bytes=10**6, window=1,
        )  # fmt: skip

    async def texts() -> list[str]:
        found = (await retriever.retrieve("x", scope=Scope(tenant), filter_={"document": key.key})).passages
        return sorted(passage.chunk.text[:3] for passage in found)

    old, new = ("\n".join(paragraph(f"v{v}{n}") for n in range(count)) for v, count in ((1, 3), (2, 4)))
    bucket.put(key.key, old.encode())
    await synchronise(key, deps(None))
    bucket.put(key.key, new.encode())
    died = False
    try:
        await synchronise(key, deps(step))
    except Crash:
        died = True
    versions = (["v10", "v11", "v12"], ["v20", "v21", "v22", "v23"])
    assert await texts() in versions, step
    await synchronise(key, deps(None))
    document: Document | None = await registry.get(key)
    assert document is not None
    assert (document.state, document.chunks, await texts()) == (DocumentState.READY, 4, versions[1]), step
    assert await store.count(tenant, document_key=key.key) == 4, step
    return died
