"""Ingest keeps registry and store in line with the bucket, whatever the events say."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote_plus

import pytest

from functions.ingest.dependencies import IngestDependencies
from functions.ingest.events import changed_documents
from functions.ingest.main import handle_batch
from functions.ingest.pipeline import synchronise
from headrace.errors import BucketUnavailableError, EmbedderUnavailableError, InvalidInputError
from headrace.types import Document, DocumentKey, DocumentState, create_only_mark
from tests.support.embedders import HashEmbedder
from tests.support.ingest import FolderBucket
from tests.support.list_queue import ListQueue


@pytest.fixture
def key(tenant: str) -> DocumentKey:
    return DocumentKey(f"documents/{tenant}/a.txt")


async def record(key: DocumentKey, deps: IngestDependencies) -> Document:
    found = await deps.registry.get(key)
    assert found is not None
    return found


def batch(*keys: DocumentKey, receives: int = 1) -> dict[str, Any]:
    """An SQS batch, one S3 notification a message."""
    return {
        "Records": [
            {
                "messageId": f"m{i}",
                "body": json.dumps({"Records": [{"s3": {"object": {"key": quote_plus(key.key)}}}]}),
                "attributes": {"ApproximateReceiveCount": str(receives)},
                "receiptHandle": f"receipt of m{i}",
            }
            for i, key in enumerate(keys)
        ]
    }


async def test_a_put_makes_a_document_ready(
    bucket: FolderBucket, ingest_deps: IngestDependencies, key: DocumentKey
) -> None:
    bucket.put(key.key, b"one line\nanother line")
    assert await handle_batch(batch(key), ingest_deps) == {"batchItemFailures": []}
    document = await record(key, ingest_deps)
    assert (document.state, document.chunks, document.size_bytes) == (DocumentState.READY, 1, 21)
    assert document.generation is not None
    assert document.ready_at is not None
    assert await ingest_deps.store.count(key.tenant) == 1


async def test_an_overwrite_leaves_only_the_new_version(
    bucket: FolderBucket, ingest_deps: IngestDependencies, key: DocumentKey
) -> None:
    for content in (b"x " * 2000, b"short"):
        bucket.put(key.key, content)
        await synchronise(key, ingest_deps)
    document = await record(key, ingest_deps)
    assert document.chunks == await ingest_deps.store.count(key.tenant) == 1
    assert document.size_bytes == 5


async def test_a_form_that_replaces_nothing_never_takes_the_place_of_what_can_be_searched(
    bucket: FolderBucket, ingest_deps: IngestDependencies, key: DocumentKey
) -> None:
    mark = create_only_mark(key.key, time.time() + 900)
    bucket.put(key.key, b"the board's own plan", groups=("board",))
    await synchronise(key, ingest_deps)
    before = await record(key, ingest_deps)
    bucket.put(key.key, b"a stranger's plan", create_only=mark)
    for _ in range(2):
        await synchronise(key, ingest_deps)
        after = await record(key, ingest_deps)
        assert (after.generation, after.groups, after.state) == (before.generation, ("board",), DocumentState.READY)
        assert "replace: true" in after.reason
    # What may replace it does: an upload without the mark, or one whose mark is another key's, or of another time.
    for content, other in ((b"1", ""), (b"2", create_only_mark(f"{key.key}x", time.time() + 900)),
                           (b"3", create_only_mark(key.key, time.time() - 900))):  # fmt: skip
        bucket.put(key.key, content, create_only=other)
        await synchronise(key, ingest_deps)
        replaced = await record(key, ingest_deps)
        assert (replaced.size_bytes, replaced.groups, replaced.reason) == (1, (), "")


async def test_a_form_that_replaces_nothing_makes_a_new_document_once(
    bucket: FolderBucket, ingest_deps: IngestDependencies, key: DocumentKey
) -> None:
    mark = create_only_mark(key.key, time.time() + 900)
    bucket.put(key.key, b"!not readable", create_only=mark)
    await synchronise(key, ingest_deps)
    assert (await record(key, ingest_deps)).state is DocumentState.FAILED
    bucket.put(key.key, b"first", create_only=mark)
    await synchronise(key, ingest_deps)
    assert (await record(key, ingest_deps)).size_bytes == 5
    bucket.put(key.key, b"second", create_only=mark)
    await synchronise(key, ingest_deps)
    assert (await record(key, ingest_deps)).size_bytes == 5


async def test_a_delete_leaves_nothing_even_when_the_put_comes_late(
    bucket: FolderBucket, ingest_deps: IngestDependencies, key: DocumentKey
) -> None:
    bucket.put(key.key, b"text")
    await synchronise(key, ingest_deps)
    del bucket.files[key.key]
    for _ in range(2):  # the delete's event, then the put's, late
        await synchronise(key, ingest_deps)
        assert await ingest_deps.registry.get(key) is None
        assert await ingest_deps.store.count(key.tenant) == 0


async def test_the_same_event_twice_embeds_once(
    bucket: FolderBucket, ingest_deps: IngestDependencies, key: DocumentKey
) -> None:
    bucket.put(key.key, b"text")
    await synchronise(key, ingest_deps)
    revision = await ingest_deps.registry.revision(key.tenant)
    before = await record(key, ingest_deps)
    await synchronise(key, replace(ingest_deps, embedder=FailingEmbedder()))
    assert await record(key, ingest_deps) == before
    assert await ingest_deps.registry.revision(key.tenant) == revision


async def test_the_old_version_stays_searchable_until_the_new_one_is_ready(
    bucket: FolderBucket, ingest_deps: IngestDependencies, key: DocumentKey
) -> None:
    bucket.put(key.key, b"old")
    await synchronise(key, ingest_deps)
    old = await record(key, ingest_deps)
    bucket.put(key.key, b"new")
    with pytest.raises(EmbedderUnavailableError):
        await synchronise(key, replace(ingest_deps, embedder=FailingEmbedder()))
    late = await record(key, ingest_deps)
    assert late.generation == old.generation
    assert late.state == DocumentState.QUEUED
    assert "tried again" in late.reason
    await synchronise(key, ingest_deps)
    assert (await record(key, ingest_deps)).generation != old.generation


async def test_an_unreadable_file_fails_with_a_reason_and_its_old_version_is_gone(
    bucket: FolderBucket, ingest_deps: IngestDependencies, key: DocumentKey
) -> None:
    bucket.put(key.key, b"fine")
    await synchronise(key, ingest_deps)
    bucket.put(key.key, b"! not fine")
    assert await handle_batch(batch(key), ingest_deps) == {"batchItemFailures": []}
    document = await record(key, ingest_deps)
    assert (document.state, document.generation, document.chunks) == (DocumentState.FAILED, None, 0)
    assert document.reason == "The file begins with a bang. Take it away."
    assert await ingest_deps.store.count(key.tenant) == 0


async def test_a_file_without_text_or_over_the_limit_fails(
    bucket: FolderBucket, ingest_deps: IngestDependencies, key: DocumentKey
) -> None:
    for content in (b"\n\n", b"x" * 10_001):
        bucket.put(key.key, content)
        await synchronise(key, ingest_deps)
        assert (await record(key, ingest_deps)).state == DocumentState.FAILED


async def test_only_the_messages_that_may_succeed_later_come_again(
    bucket: FolderBucket, ingest_deps: IngestDependencies, key: DocumentKey, tenant: str
) -> None:
    good, bad = key, DocumentKey(f"documents/{tenant}/bad.txt")
    bucket.put(good.key, b"text")
    await handle_batch(batch(good), ingest_deps)
    bucket.put(bad.key, b"text too")
    answer = await handle_batch(batch(good, bad), replace(ingest_deps, embedder=FailingEmbedder()))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    await handle_batch(batch(bad, receives=5), replace(ingest_deps, embedder=FailingEmbedder()))
    lost = await record(bad, ingest_deps)
    assert lost.state == DocumentState.FAILED
    assert "Given up" in lost.reason
    await handle_batch(batch(bad), ingest_deps)
    assert (await record(bad, ingest_deps)).state == DocumentState.READY


async def test_what_s3_did_not_write_is_dropped(ingest_deps: IngestDependencies) -> None:
    messages = ['{"Event": "s3:TestEvent"}', "not json", "[]", '{"Records": [{}]}', "null"]
    event = {"Records": [{"messageId": str(i), "body": body, "attributes": {}} for i, body in enumerate(messages)]}
    assert await handle_batch(event, ingest_deps) == {"batchItemFailures": []}


def test_keys_are_decoded_and_only_documents_count() -> None:
    names = ["documents/a b+ü.txt", "documents/t/x/y.pdf", "documents/", "documents/t/", "documents//x", "other/x"]
    body = json.dumps({"Records": [{"s3": {"object": {"key": quote_plus(name)}}} for name in [*names, names[0]]]})
    found = changed_documents(body)
    assert [(k.tenant, k.name) for k in found] == [("default", "a b+ü.txt"), ("t", "x/y.pdf")]
    with pytest.raises(InvalidInputError):
        changed_documents("{}")


class FailingEmbedder:
    """An embedder whose server is gone."""

    model = "all-MiniLM-L6-v2"
    relevance_floor = 0.25
    max_tokens = 256

    def count_tokens(self, text: str) -> int:
        return len(text)

    async def check(self) -> None:
        """Says nothing."""

    async def embed(self, texts: Any) -> Any:
        raise EmbedderUnavailableError("The embedding model does not answer.")


class ClumsyEmbedder(FailingEmbedder):
    """An embedder with a defect."""

    async def embed(self, texts: Any) -> Any:
        raise TypeError("secret detail")


class SlowEmbedder(FailingEmbedder):
    """An embedder that never ends."""

    async def embed(self, texts: Any) -> Any:
        await asyncio.sleep(60)


async def test_whatever_goes_wrong_the_record_says_so(
    bucket: FolderBucket, ingest_deps: IngestDependencies, key: DocumentKey
) -> None:
    bucket.put(key.key, b"text")
    clumsy = replace(ingest_deps, embedder=ClumsyEmbedder())
    assert await handle_batch(batch(key), clumsy) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    document = await record(key, ingest_deps)
    assert (document.state, "TypeError" in document.reason) == (DocumentState.QUEUED, True)
    assert "secret" not in document.reason
    await handle_batch(batch(key, receives=5), clumsy)
    assert (await record(key, ingest_deps)).state == DocumentState.FAILED


async def test_a_document_that_takes_too_long_says_so_before_the_invocation_ends(
    bucket: FolderBucket, ingest_deps: IngestDependencies, key: DocumentKey
) -> None:
    bucket.put(key.key, b"text")
    slow = replace(ingest_deps, embedder=SlowEmbedder())
    for receives, state in ((1, DocumentState.QUEUED), (5, DocumentState.FAILED)):
        await handle_batch(batch(key, receives=receives), slow, deadline_seconds=0.3)
        document = await record(key, ingest_deps)
        assert (document.state, "one invocation" in document.reason) == (state, True)


async def test_a_new_version_that_cannot_be_fetched_is_said_beside_the_old_one(
    bucket: FolderBucket, ingest_deps: IngestDependencies, key: DocumentKey, tenant: str
) -> None:
    class GoneBucket(FolderBucket):
        async def head(self, key: str) -> Any:
            raise BucketUnavailableError("The bucket does not answer.")

    bucket.put(key.key, b"text")
    await synchronise(key, ingest_deps)
    gone = replace(ingest_deps, bucket=GoneBucket())
    unknown = DocumentKey(f"documents/{tenant}/unknown.txt")
    await handle_batch(batch(key, unknown, receives=5), gone)
    document = await record(key, ingest_deps)
    assert (document.state, document.reason[:8]) == (DocumentState.READY, "Given up")
    assert (await record(unknown, ingest_deps)).state == DocumentState.FAILED
    bucket.put(key.key, b"newer")
    await handle_batch(batch(key), ingest_deps)
    assert (await record(key, ingest_deps)).reason == ""


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_order_events_come_in_the_end_is_what_the_bucket_holds(
    bucket: FolderBucket, ingest_deps: IngestDependencies, tenant: str, seed: int
) -> None:
    """Random puts, overwrites and deletes, with events duplicated, reordered and handled at the same time."""
    generator = random.Random(seed)
    keys = [DocumentKey(f"documents/{tenant}/{name}") for name in "ab"]
    events: list[asyncio.Task[bool]] = []
    for step in range(14):
        key = generator.choice(keys)
        if generator.random() < 0.3:
            bucket.files.pop(key.key, None)
        else:
            bucket.put(key.key, generator.choice([b"! bad", b"alpha", b"beta", f"text {step}".encode()]))
        events += [asyncio.create_task(synchronise(key, ingest_deps)) for _ in range(generator.choice([1, 1, 2]))]
        for _ in range(generator.randrange(30)):
            await asyncio.sleep(0)
    await asyncio.gather(*events)
    for key in keys:
        document = await ingest_deps.registry.get(key)
        content = bucket.files.get(key.key)
        stored = await ingest_deps.store.count(tenant, document_key=key.key)
        if content is None:
            assert (document, stored) == (None, 0)
        elif content.startswith(b"!"):
            assert document is not None
            assert (document.state, stored) == (DocumentState.FAILED, 0)
        else:
            assert document is not None
            assert (document.state, stored) == (DocumentState.READY, document.chunks)


@pytest.mark.parametrize(("receives", "seconds"), [(1, 15), (2, 60), (3, 300), (4, 900), (5, None)])
async def test_what_may_pass_comes_again_soon_and_later_with_each_try(
    bucket: FolderBucket, ingest_deps: IngestDependencies, key: DocumentKey, receives: int, seconds: int | None
) -> None:
    class AwayEmbedder(HashEmbedder):
        async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
            raise EmbedderUnavailableError("The embedding model does not answer.")

    bucket.put(key.key, b"text")
    queue = ListQueue()
    deps = replace(ingest_deps, embedder=AwayEmbedder(), queue=queue)
    assert await handle_batch(batch(key, receives=receives), deps) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert queue.shown_again == ([] if seconds is None else [("receipt of m0", seconds)])


async def test_what_is_done_is_not_shown_again(
    bucket: FolderBucket, ingest_deps: IngestDependencies, key: DocumentKey
) -> None:
    bucket.put(key.key, b"text")
    queue = ListQueue()
    await handle_batch(batch(key), replace(ingest_deps, queue=queue))
    assert queue.shown_again == []
