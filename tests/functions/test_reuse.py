"""What a document has in common with its earlier versions, with an attempt that ran out of time, or with its own labels."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from functions.ingest.dependencies import IngestDependencies
from functions.ingest.main import handle_batch
from functions.ingest.pipeline import synchronise
from headrace.types import Document, DocumentKey, DocumentState, FinishReason, Message, ModelChunk, Principal, Usage
from tests.support.embedders import HashEmbedder
from tests.support.ingest import FolderBucket, LineParser
from tests.support.list_queue import ListQueue
from tests.support.prompts import framed


class CountingParser(LineParser):
    """A parser that counts the files it reads."""

    files = 0

    async def parse(self, *args: Any, **named: Any) -> Any:
        self.files += 1
        return await super().parse(*args, **named)


@pytest.fixture
def key(tenant: str) -> DocumentKey:
    return DocumentKey(f"documents/{tenant}/a.txt")


@pytest.fixture
def embedder_() -> HashEmbedder:
    return HashEmbedder()


@pytest.fixture
def deps(ingest_deps: IngestDependencies, embedder_: HashEmbedder) -> IngestDependencies:
    return replace(
        ingest_deps, embedder=embedder_, parser=CountingParser(), queue=ListQueue(), max_document_bytes=10**7
    )


def text(*titles: object) -> bytes:
    """A paragraph a title, each longer than half a chunk."""
    words = [" ".join(f"w{random.Random(f'{title} {i}').getrandbits(24):x}" for i in range(70)) for title in titles]
    return "\n".join(f"{title} {body}" for title, body in zip(titles, words, strict=True)).encode()


async def record(key: DocumentKey, deps: IngestDependencies) -> Document:
    found = await deps.registry.get(key)
    assert found is not None
    return found


async def test_only_changed_chunks_are_embedded(
    bucket: FolderBucket, deps: IngestDependencies, embedder_: HashEmbedder, key: DocumentKey
) -> None:
    bucket.put(key.key, text(*range(10)))
    await synchronise(key, deps)
    assert embedder_.texts == 10
    bucket.put(key.key, text(*range(5), "new", *range(5, 10)))
    await synchronise(key, deps)
    assert embedder_.texts == 11
    document = await record(key, deps)
    assert document.chunks == 11 == await deps.store.count(key.tenant)
    chunks = sorted([chunk async for chunk in deps.store.scan(key.tenant)], key=lambda chunk: chunk.index)
    assert "\n".join(chunk.text for chunk in chunks).encode() == bucket.files[key.key]


async def test_the_same_content_costs_nothing_though_s3_calls_it_another_version(
    bucket: FolderBucket, deps: IngestDependencies, embedder_: HashEmbedder, key: DocumentKey
) -> None:
    bucket.put(key.key, text(1, 2))
    await synchronise(key, deps)
    generation = (await record(key, deps)).generation
    bucket.salt = "encrypted with a key of its own each time"
    await synchronise(key, deps)
    document = await record(key, deps)
    assert embedder_.texts == 2
    assert document.generation != generation
    assert {chunk.etag async for chunk in deps.store.scan(key.tenant)} == {document.etag}
    assert isinstance(deps.parser, CountingParser)
    assert deps.parser.files == 1


@pytest.mark.parametrize("nested", [False, True], ids=["plain", "as-Bedrock-writes-it"])
async def test_a_sidecar_labels_anew_without_reading_or_embedding(
    bucket: FolderBucket, deps: IngestDependencies, embedder_: HashEmbedder, key: DocumentKey, nested: bool
) -> None:
    bucket.put(key.key, text(1, 2, 3))
    await synchronise(key, deps)
    labels: dict[str, Any] = {"groups": ["hr", "board"], "tags": "policy, 2026"}
    bucket.put(key.sidecar, json.dumps({"metadataAttributes": labels} if nested else labels).encode())
    notification = {"Records": [{"s3": {"object": {"key": key.sidecar}}}]}
    event = {"Records": [{"messageId": "m", "body": json.dumps(notification), "attributes": {}}]}
    assert await handle_batch(event, deps) == {"batchItemFailures": []}
    document = await record(key, deps)
    assert (document.state, document.groups, document.tags) == (
        DocumentState.READY,
        ("board", "hr"),
        ("2026", "policy"),
    )
    chunks = [chunk async for chunk in deps.store.scan(key.tenant)]
    assert {(c.groups, c.tags, c.generation) for c in chunks} == {(document.groups, document.tags, document.generation)}
    assert len(chunks) == 3 == embedder_.texts
    del bucket.files[key.sidecar]
    await synchronise(key, deps)
    assert ((await record(key, deps)).groups, embedder_.texts) == ((), 3)
    assert isinstance(deps.parser, CountingParser)
    assert deps.parser.files == 1


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"groups": 7}', b'{"groups": []}', b'{"tags": ["a,b"]}', b"x" * 200_000]
)
async def test_a_sidecar_that_cannot_be_understood_hides_the_document_and_says_so(
    bucket: FolderBucket, deps: IngestDependencies, key: DocumentKey, content: bytes
) -> None:
    bucket.put(key.key, text(1))
    await synchronise(key, deps)
    bucket.put(key.sidecar, content)
    await synchronise(key, deps)
    document = await record(key, deps)
    assert (document.state, document.generation) == (DocumentState.FAILED, None)
    assert ".metadata.json can't be used" in document.reason
    assert await deps.store.count(key.tenant) == 0
    bucket.put(key.sidecar, b'{"tags": ["fine"]}')
    await synchronise(key, deps)
    assert (await record(key, deps)).state is DocumentState.READY


async def test_folder_metadata_and_sidecar_narrow_each_other(
    bucket: FolderBucket, deps: IngestDependencies, tenant: str
) -> None:
    key = DocumentKey(f"documents/{tenant}/groups=hr,ops,board/a.txt")
    bucket.put(key.key, text(1), groups=("hr", "ops", "it"))
    bucket.put(key.sidecar, b'{"groups": ["ops", "it"]}')
    await synchronise(key, deps)
    assert (await record(key, deps)).groups == ("ops",)
    assert not Principal(tenant, frozenset({"hr"})).may_see(("ops",))


async def test_a_document_too_long_for_one_invocation_goes_on_in_the_next(
    bucket: FolderBucket, deps: IngestDependencies, embedder_: HashEmbedder, key: DocumentKey
) -> None:
    bucket.put(key.key, text(*range(20)))
    moments = iter([0.0] * 3 + [1e9] * 1000)
    letters = ListQueue()
    late = replace(deps, queue=letters, window=4, clock=lambda: next(moments))
    assert await synchronise(key, late, deadline_seconds=60)
    document = await record(key, deps)
    assert (document.state.value, document.progress, document.generation) == ("embedding", 0.2, None)
    assert len(letters.bodies) == 1
    while letters.bodies:
        body = letters.bodies.pop()
        moments = iter([0.0] * 3 + [1e9] * 1000)
        event = {"Records": [{"messageId": "m", "body": body, "attributes": {}}]}
        assert await handle_batch(event, late, deadline_seconds=60) == {"batchItemFailures": []}
    document = await record(key, deps)
    assert (document.state.value, document.chunks, document.draft) == ("ready", 20, None)
    assert embedder_.texts == 20, "nothing is embedded twice"
    assert await deps.store.count(key.tenant) == 20


class Narrator:
    """A ChatModel that says which passage it was shown, and counts."""

    name = "narrator"
    is_extractive = False

    def __init__(self) -> None:
        self.calls = 0

    async def check(self) -> None:
        """Always ready."""

    async def stream(self, messages: Sequence[Message], **_: Any) -> AsyncGenerator[ModelChunk, None]:
        self.calls += 1
        passage = framed(messages[-1].content, "passage")[-1]
        yield ModelChunk(text=f"This is about zebra {passage.split()[0]}.")
        yield ModelChunk(usage=Usage(90, 10), finish_reason=FinishReason.STOP)


async def test_contexts_are_embedded_never_quoted_and_written_once(
    bucket: FolderBucket, deps: IngestDependencies, key: DocumentKey
) -> None:
    narrator = Narrator()
    told = replace(deps, context_model=narrator, recipe="3, contexts by narrator")
    bucket.put(key.key, text("a", "b", "c"))
    await synchronise(key, deps)
    assert narrator.calls == 0
    await synchronise(key, replace(told, embedder=HashEmbedder()))
    bucket.put(key.key, text("a", "b", "c", "d"))
    await synchronise(key, told)
    chunks = sorted([chunk async for chunk in deps.store.scan(key.tenant)], key=lambda chunk: chunk.index)
    assert [chunk.context for chunk in chunks] == [f"This is about zebra {name}." for name in "abcd"]
    assert narrator.calls == 4
    assert "zebra d" in chunks[3].text_to_embed
    assert "zebra" not in "".join(chunk.text for chunk in chunks)
    document = await record(key, deps)
    assert document.context_tokens == 100 * narrator.calls


async def test_history_tells_what_became_of_a_document(
    bucket: FolderBucket, deps: IngestDependencies, key: DocumentKey
) -> None:
    bucket.put(key.key, b"!")
    await synchronise(key, deps)
    bucket.put(key.key, text(1))
    await synchronise(key, deps)
    history = (await record(key, deps)).history
    states = [step.state.value for step in history]
    assert states == ["queued", "parsing", "failed", "queued", "parsing", "embedding", "ready"]
    assert "bang" in history[2].reason
    assert [step.at for step in history] == sorted(step.at for step in history)


async def test_a_message_is_kept_while_another_attempt_that_may_die_has_taken_over(
    bucket: FolderBucket, deps: IngestDependencies, key: DocumentKey
) -> None:
    bucket.put(key.key, text(1))

    class Interrupted(HashEmbedder):
        async def embed(self, texts: Any) -> Any:
            await deps.registry.begin(key, embedding_model=self.model)
            return await super().embed(texts)

    assert not await synchronise(key, replace(deps, embedder=Interrupted(), wait_seconds=0.0))
    assert await synchronise(key, deps)
    assert (await record(key, deps)).state is DocumentState.READY
