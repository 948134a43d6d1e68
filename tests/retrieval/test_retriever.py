"""What a retriever does with what the store finds and the registry says."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from headrace.clients.redis import tenant_key
from headrace.errors import (
    EmbedderUnavailableError,
    IndexMismatchError,
    RegistryUnavailableError,
    RerankerUnavailableError,
    StoreUnavailableError,
)
from headrace.protocols import Reranker, VectorStore
from headrace.redis_state.registry import RedisRegistry
from headrace.rerankers.http import open_http_reranker
from headrace.retrieval import question_vectors
from headrace.retrieval.question_vectors import QuestionVectors
from headrace.retrieval.retriever import RetrievalOptions, Retriever
from headrace.retrieval.selection import without_repeats
from headrace.retrieval.windows import ChunkMemory
from headrace.stores.edge import open_embedded_store
from headrace.types import Block, Chunk, ChunkId, DocumentKey, Passage, Query, Scope
from tests.support.chunks import chunks
from tests.support.embedders import HashEmbedder
from tests.support.http import served
from tests.support.library import Library

OPTIONS = RetrievalOptions(limit=3, min_similarity=-2.0)


@pytest.fixture
async def library(
    stack: AsyncExitStack, tmp_path_factory: pytest.TempPathFactory, tenant: str, registry: RedisRegistry
) -> Library:
    opening = open_embedded_store(tmp_path_factory.mktemp("engine"), collection="c")
    return Library(tenant, HashEmbedder(), await stack.enter_async_context(opening), registry)


def retriever(library: Library, options: RetrievalOptions = OPTIONS, **deps: Any) -> Retriever:
    given = {"embedder": library.embedder, "store": library.store, "registry": library.registry, **deps}
    return Retriever(options=options, **given)


async def ask(library: Library, question: str = "what?", **deps: Any) -> tuple[Passage, ...]:
    return (await retriever(library, **deps).retrieve(question, scope=Scope(library.tenant))).passages


async def test_leftovers_of_older_versions_take_no_places(library: Library) -> None:
    """Forty generations that nobody retired stand before the three that are current."""
    question = "which bolt fits?"
    for name in ("a", "b", "c"):
        await library.put(name, f"bolt {name}")
    for generation in range(1, 41):
        stale = Chunk(f"documents/{library.tenant}/a", generation, 0, question)
        [vector] = await library.embedder.embed([question])
        await library.store.upsert([replace(chunks(library.tenant, count=1)[0], chunk=stale, vector=vector)])
    found = await ask(library, question)
    assert {passage.chunk.name for passage in found} == {"a", "b", "c"}
    assert all(passage.chunk.generation > 40 for passage in found)


async def test_a_tenant_without_documents_gets_no_passages(library: Library) -> None:
    assert await ask(library) == ()


async def test_a_lost_registry_is_said_and_nothing_unchecked_is_shown(library: Library, redis: Redis) -> None:
    await library.put("a", "text")
    await redis.delete(tenant_key(library.tenant, "registry"))
    with pytest.raises(RegistryUnavailableError, match="being rebuilt"):
        await ask(library)
    await library.registry.begin(DocumentKey(f"documents/{library.tenant}/b"), embedding_model="hash")
    with pytest.raises(RegistryUnavailableError, match="being rebuilt"):
        await ask(library)


async def test_a_registry_that_fell_back_in_time_is_noticed_and_stays_doubted(library: Library, redis: Redis) -> None:
    await library.put("a", "old")
    key = tenant_key(library.tenant, "registry")
    before = await redis.dump(key)
    assert before is not None
    await library.put("a", "new")
    await redis.restore(key, 0, before, replace=True)  # a failover to a replica that lagged
    for _ in range(2):
        with pytest.raises(RegistryUnavailableError):
            await ask(library)
    await library.registry.begin(DocumentKey(f"documents/{library.tenant}/b"), embedding_model="hash")
    with pytest.raises(RegistryUnavailableError):
        await ask(library)


async def test_another_embedding_model_is_refused_with_what_to_do(library: Library) -> None:
    await library.put("a", "text")
    with pytest.raises(IndexMismatchError, match="make reindex"):
        await ask(library, embedder=HashEmbedder("other"))


async def test_a_store_that_stays_behind_the_registry_is_unavailable(library: Library) -> None:
    class Behind:
        def __getattr__(self, name: str) -> object:
            return getattr(library.store, name)

        async def search(self, request: object) -> object:
            return replace(await library.store.search(request), watermark=6)  # type: ignore[arg-type]

    await library.put("a", "text")
    key = DocumentKey(f"documents/{library.tenant}/a")
    attempt = await library.registry.begin(key, embedding_model="hash")
    document = await library.registry.get(key)
    assert document is not None
    await library.registry.save(document, attempt, watermark=6)
    assert await ask(library, store=Behind())
    await library.registry.save(document, attempt, watermark=7)
    with pytest.raises(StoreUnavailableError, match="faster"):
        await ask(library, store=Behind())


async def test_near_duplicates_are_said_once_unless_their_numbers_differ() -> None:
    words = " ".join(f"word{chr(97 + i)}" for i in range(26))
    texts = [f"{words} tail", f"{words} Tail!", f"{words} 18 weeks", f"{words} 20 weeks", "quite another matter"]
    found = [Passage(Chunk("documents/a", 1, i, text), 1.0) for i, text in enumerate(texts)]
    assert [passage.chunk.index for passage in without_repeats(found, limit=9)] == [0, 2, 3, 4]


async def test_passages_are_read_with_their_neighbours_within_section_and_budget(library: Library) -> None:
    part = "x" * 880
    blocks = [Block(f"{i} {part}", section=("One",) if i < 3 else ("Two",)) for i in range(5)]
    await library.put("a", *blocks)

    async def contexts(tokens: int, limit: int = 1) -> list[str]:
        options = replace(OPTIONS, limit=limit, context_tokens=tokens, dense_weight=0.2)
        found = (await retriever(library, options).retrieve("2", scope=Scope(library.tenant))).passages
        return [" ".join(line[:1] for line in passage.context.split("\n")) for passage in found]

    assert await contexts(0) == [""]
    assert await contexts(1_000) == ["1 2"], "the chunk after it belongs to another section"
    assert await contexts(100) == [""], "no room"
    assert await contexts(10_000, limit=6) == [""] * 5, "neighbours that are passages themselves are not repeated"


async def test_neighbours_are_asked_for_once_and_not_where_there_are_none(library: Library) -> None:
    class Counting:
        asked: ClassVar[list[list[ChunkId]]] = []

        def __getattr__(self, name: str) -> Any:
            return getattr(library.store, name)

        async def chunks(self, tenant: str, identities: Collection[ChunkId]) -> list[Chunk]:
            self.asked.append(list(identities))
            return await library.store.chunks(tenant, identities)

    part, options = "x" * 880, replace(OPTIONS, limit=1, context_tokens=1_000, dense_weight=0.2)
    await library.put("a", *(f"{i} {part}" for i in range(3)))
    finding = retriever(library, options, store=Counting())

    async def context(question: str) -> str:
        (found,) = (await finding.retrieve(question, scope=Scope(library.tenant))).passages
        return " ".join(line[:1] for line in found.context.split("\n"))

    first = await context("1")
    assert [await context("1"), await context("1")] == [first, first]
    assert [[each.position for each in asked] for asked in Counting.asked] == [[0, 2]]
    await library.put("a", *(f"{i} {part} anew" for i in range(3)))
    await context("1")
    assert len(Counting.asked) == 2, "a new generation has chunks of its own"
    await library.put("a", f"1 {part} alone")
    assert await context("1") == ""
    assert len(Counting.asked) == 2, "a document of one chunk has no neighbours"


def test_a_chunk_that_is_remembered_is_of_the_same_file_and_the_last_ones_are_kept() -> None:
    memory = ChunkMemory(2)
    made = [Chunk("documents/a", 1, i, f"{i}", etag="e") for i in range(3)]
    memory.keep(made[:2])
    assert memory.get(made[0].identity, "e") == made[0]
    assert memory.get(made[0].identity, "other") is None, "numbers may come again when a registry was lost"
    memory.keep(made[2:])
    assert [memory.get(each.identity, "e") for each in made] == [made[0], None, made[2]]


async def test_follow_up_questions_are_searched_with_what_they_follow(library: Library) -> None:
    from headrace.types import Message

    await library.put("a", "text")
    embedder = HashEmbedder()
    asked = retriever(library, embedder=embedder)
    history = [Message("user", "How long is leave?"), Message("assistant", "18 weeks.")]
    for _ in range(2):
        await asked.retrieve("And for fathers?", scope=Scope(library.tenant), history=history)
    assert embedder.texts == 2, "both ways of asking are embedded, once"


class Slow(HashEmbedder):
    """An embedder that takes its time, and says what became of its calls."""

    def __init__(self, seconds: float = 0.02) -> None:
        super().__init__()
        self.seconds = seconds
        self.faults: list[Exception] = []
        self.given_up = 0

    async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if self.faults:
            raise self.faults.pop()
        return await super().embed(texts)


async def asking(vectors: QuestionVectors, text: str) -> asyncio.Task[list[Query]]:
    task = asyncio.create_task(vectors.of([text]))
    await asyncio.sleep(0)
    return task


async def test_a_question_is_embedded_once_however_early_that_began() -> None:
    embedder = Slow()
    vectors = QuestionVectors(embedder)
    for _ in range(2):
        vectors.begin("one")
    leaves, stays = await asking(vectors, "one"), await asking(vectors, "one")
    leaves.cancel()
    assert await stays == await vectors.of(["one"])
    assert (embedder.texts, embedder.given_up) == (1, 0), "who leaves takes it from nobody else"
    vectors.begin("one")
    vectors.begin("two")
    await asyncio.sleep(0.1)
    assert [query.text for query in await vectors.of(["two", "one"])] == ["two", "one"]
    assert embedder.texts == 2, "what nobody waited for was kept, and what is known is not asked for"


async def test_an_embedding_that_nobody_wants_is_given_up_and_made_anew_for_who_does() -> None:
    embedder = Slow()
    vectors = QuestionVectors(embedder)
    vectors.begin("one")
    last = await asking(vectors, "one")
    vectors.give_up("one")
    await asyncio.sleep(0)
    assert embedder.given_up == 0, "somebody waits for it"
    last.cancel()
    await asyncio.wait({last})
    await asyncio.sleep(0)
    assert embedder.given_up == 1, "the last one who waited has left"
    vectors.begin("two")
    vectors.give_up("two")
    for text in ("one", "two"):
        assert [query.text for query in await vectors.of([text])] == [text]
    vectors.give_up("one")


async def test_a_fault_of_an_embedding_is_told_to_who_waits_and_not_remembered() -> None:
    embedder = Slow()
    vectors = QuestionVectors(embedder)
    embedder.faults.append(EmbedderUnavailableError("away"))
    vectors.begin("one")
    waiting = [await asking(vectors, "one") for _ in range(2)]
    for task in waiting:
        with pytest.raises(EmbedderUnavailableError, match="away"):
            await task
    assert await vectors.of(["one"])


async def test_an_embedding_that_hangs_is_not_waited_for_by_who_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question_vectors, "JOIN_SECONDS", 0.05)
    embedder = Slow(60.0)
    vectors = QuestionVectors(embedder)
    vectors.begin("one")
    await asyncio.sleep(0.1)
    embedder.seconds = 0.0
    async with asyncio.timeout(5):
        assert await vectors.of(["one"])
    vectors.give_up("one")
    await asyncio.sleep(0)


class Backwards:
    """A reranker that likes what the retriever likes least."""

    model = "backwards"

    async def check(self) -> None:
        """Always ready."""

    async def rerank(self, question: str, passages: Sequence[Passage]) -> list[float]:
        return [-passage.score for passage in passages]


async def test_a_reranker_has_the_last_word(library: Library) -> None:
    for name in "abc":
        await library.put(name, f"text {name}")
    plain = await ask(library)
    reranker: Reranker = Backwards()
    assert await ask(library, reranker=reranker) == plain[::-1]
    assert retriever(library, reranker=reranker).fingerprint != retriever(library).fingerprint


async def test_a_reranking_endpoint_is_asked_as_its_vendors_ask(stack: AsyncExitStack) -> None:
    bodies = []

    async def rerank(request: Request) -> Response:
        bodies.append(await request.json())
        if request.headers["authorization"] != "Bearer secret":
            return JSONResponse({"message": "no"}, status_code=401)
        results = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]
        return JSONResponse({"results": results[: len(bodies[-1]["documents"])]})

    url = await stack.enter_async_context(served(Starlette(routes=[Route("/v1/rerank", rerank, methods=["POST"])])))
    opening = open_http_reranker(f"{url}/v1", api_key="secret", model="m")
    reranker = await stack.enter_async_context(opening)
    passages = [Passage(Chunk("documents/a", 1, i, f"text {i}"), 1.0) for i in range(2)]
    assert await reranker.rerank("q", passages) == [0.1, 0.9]
    assert bodies[0] == {"model": "m", "query": "q", "documents": ["a\ntext 0", "a\ntext 1"], "top_n": 2}
    with pytest.raises(RerankerUnavailableError, match="every passage"):
        await reranker.rerank("q", [*passages, passages[0]])


async def test_a_store_holds_what_it_was_given_after_it_is_opened_again(
    tmp_path_factory: pytest.TempPathFactory, registry: RedisRegistry, tenant: str
) -> None:
    folder = tmp_path_factory.mktemp("engine")
    for expected in (0, 1):
        async with open_embedded_store(folder, collection="c") as store:
            holding: VectorStore = store
            assert await holding.count(tenant) == expected
            await Library(tenant, HashEmbedder(), store, registry).put("a", "text")


async def test_a_document_that_is_being_narrowed_does_not_stand_in_the_way_of_others(library: Library) -> None:
    """The store still says that everybody may see it, the registry no longer does, and it is what is found first."""
    for number in range(8):
        await library.put(f"narrow{number}", f"bolt {number}")
    await library.put("open", "another thing")
    for number in range(8):
        key = DocumentKey(f"documents/{library.tenant}/narrow{number}")
        attempt = await library.registry.begin(key, embedding_model="hash")
        document = await library.registry.get(key)
        assert document is not None
        await library.registry.save(replace(document, groups=("hr",)), attempt)
    found = await ask(library, "bolt")
    assert [passage.chunk.name for passage in found] == ["open"]
