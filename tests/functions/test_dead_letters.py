"""What ended the function each time is left `failed`, with a reason, and can be tried once more."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from functions.ingest.dead_letters import redrive
from functions.ingest.dependencies import IngestDependencies
from functions.ingest.main import handle_batch
from functions.ingest.pipeline import synchronise
from headrace.queues.messages import object_changed
from headrace.types import Chunk, Document, DocumentKey, DocumentState, EmbeddedChunk
from tests.support.embedders import HashEmbedder
from tests.support.ingest import FolderBucket
from tests.support.list_queue import ListQueue

ARN = "arn:aws:sqs:us-east-1:000000000000:dead"


@pytest.fixture
def deps(ingest_deps: IngestDependencies) -> IngestDependencies:
    return replace(ingest_deps, embedder=HashEmbedder(), dead_letters_arn=ARN)


@pytest.fixture
def key(tenant: str) -> DocumentKey:
    return DocumentKey(f"documents/{tenant}/a.txt")


def dead(*keys: DocumentKey) -> dict[str, Any]:
    records = [
        {"messageId": str(i), "body": object_changed(key.key), "attributes": {}, "eventSourceARN": ARN}
        for i, key in enumerate(keys)
    ]
    return {"Records": records}


async def state(deps: IngestDependencies, key: DocumentKey) -> tuple[DocumentState, str, bool]:
    document = await deps.registry.get(key)
    assert document is not None
    return document.state, document.reason, document.generation is not None


async def test_a_document_that_killed_the_function_is_failed_and_says_so(
    bucket: FolderBucket, deps: IngestDependencies, key: DocumentKey
) -> None:
    bucket.put(key.key, b"text")
    attempt = await deps.registry.begin(key, embedding_model="hash")
    await deps.registry.save(Document(key.key, DocumentState.PARSING), attempt)
    assert await handle_batch(dead(key), deps) == {"batchItemFailures": []}
    found, reason, _ = await state(deps, key)
    assert found == DocumentState.FAILED
    assert "memory or time" in reason
    assert await redrive(key.tenant, deps) == 1
    assert await state(deps, key) == (DocumentState.READY, "", True)
    assert await redrive(key.tenant, deps) == 0


async def test_the_old_version_of_what_was_given_up_stays(
    bucket: FolderBucket, deps: IngestDependencies, key: DocumentKey
) -> None:
    bucket.put(key.key, b"old")
    await synchronise(key, deps)
    bucket.put(key.key, b"new")
    await handle_batch(dead(key), deps)
    assert (await state(deps, key))[0::2] == (DocumentState.FAILED, True)


async def test_what_is_done_failed_or_gone_is_left_as_it_is(
    bucket: FolderBucket, deps: IngestDependencies, tenant: str
) -> None:
    done, bad, gone = (DocumentKey(f"documents/{tenant}/{name}") for name in ("done", "bad", "gone"))
    for key, content in ((done, b"text"), (bad, b"! no"), (gone, b"text")):
        bucket.put(key.key, content)
        await synchronise(key, deps)
    before = [await deps.registry.get(key) for key in (done, bad)]
    del bucket.files[gone.key]
    await handle_batch(dead(done, bad, gone), deps)
    assert [await deps.registry.get(key) for key in (done, bad)] == before
    assert await deps.registry.get(gone) is None
    assert await redrive(tenant, deps) == 0, "a file that can't be read is not tried again"


async def test_redriving_goes_through_the_queue_where_there_is_one(
    bucket: FolderBucket, deps: IngestDependencies, key: DocumentKey
) -> None:
    queue = ListQueue()
    bucket.put(key.key, b"text")
    await handle_batch(dead(key), deps)
    assert await redrive(key.tenant, replace(deps, queue=queue)) == 1
    assert [json.loads(body) for body in queue.bodies] == [json.loads(object_changed(key.key))]


async def test_what_a_killed_try_left_behind_goes_though_the_document_is_done(
    bucket: FolderBucket, deps: IngestDependencies, key: DocumentKey
) -> None:
    killed = await deps.registry.begin(key, embedding_model="hash")
    bucket.put(key.key, b"text")
    await synchronise(key, deps)
    stray = Chunk(key.key, killed.number, 0, "what was written after the newer attempt had tidied up")
    await deps.store.upsert([EmbeddedChunk(stray, (await deps.embedder.embed([stray.text]))[0])])
    await handle_batch(dead(key), deps)
    assert await state(deps, key) == (DocumentState.READY, "", True)
    assert [chunk.text async for chunk in deps.store.scan(key.tenant)] == ["text"]
