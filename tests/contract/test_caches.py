"""What every answer cache promises, whichever index finds its questions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from headrace.clients.redis import open_redis
from headrace.redis_state.answer_cache.cache import MOST_ALIASES, CacheLimits, RedisCache
from headrace.redis_state.answer_cache.lookups import Lookups
from headrace.redis_state.answer_cache.maintenance import RedisCacheMaintenance
from headrace.redis_state.answer_cache.question_index import LocalQuestionIndex, QuestionIndex
from headrace.redis_state.answer_cache.server_index import ServerQuestionIndex
from headrace.redis_state.layout import counters_key, entry_key, partition_key, rejected_key, warm_key
from headrace.redis_state.registry import RedisRegistry
from headrace.redis_state.scripts import script
from headrace.types import (
    AnswerMode,
    CachedAnswer,
    CacheEntry,
    CacheInvalidation,
    CacheKey,
    Chunk,
    Citation,
    CitationEvent,
    Document,
    DocumentKey,
    DocumentState,
    DoneEvent,
    FinishReason,
    InvalidationReason,
    Partition,
    Passage,
    PassagesEvent,
    Provenance,
    Scope,
    Stage,
    StatusEvent,
    TokenEvent,
    Usage,
    UsageEvent,
)
from infra.local.processes import free_port
from tests.support.answer_cache import neighbours
from tests.support.chunks import vector
from tests.support.faults import silent
from tests.support.processes import redis_cluster, search_redis_server

LIMITS = CacheLimits(ttl_seconds=60, timeout_seconds=5.0)


@pytest.fixture(scope="module")
def search_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with search_redis_server(tmp_path_factory.mktemp("search")) as url:
        yield url


@pytest.fixture(scope="module")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as url:
        yield url


@pytest.fixture(params=["local", "search", "cluster"])
async def client(
    request: pytest.FixtureRequest, redis_url: str, search_url: str, cluster_url: str
) -> AsyncIterator[Redis]:
    url = {"local": redis_url, "search": search_url, "cluster": cluster_url}[request.param]
    async with open_redis(url, mode="cluster" if request.param == "cluster" else "standalone") as opened:
        yield opened


@pytest.fixture
def make_index(request: pytest.FixtureRequest, client: Redis) -> QuestionIndex:
    kind = request.node.callspec.params["client"]
    return ServerQuestionIndex(client) if kind == "search" else LocalQuestionIndex(client, most_bytes=10**7)


@pytest.fixture
def registry(client: Redis) -> RedisRegistry:
    return RedisRegistry(client)


@pytest.fixture
def any_cache(client: Redis, make_index: QuestionIndex) -> RedisCache:
    return RedisCache(client, make_index, LIMITS)


@pytest.fixture
async def key(tenant: str, registry: RedisRegistry) -> CacheKey:
    await registry.open_epoch(tenant)
    return CacheKey(Partition(Scope(tenant, frozenset({"staff"})), "model-1", "m", 0.6), "How long is the leave?")


def answer(
    revision: int = 0, asked: str = "leave", documents: dict[str, tuple[int, tuple[str, ...]]] | None = None
) -> CachedAnswer:
    chunk = Chunk("documents/a.txt", 1, 2, "26 weeks “of” leave", page=3, section=("A", "B"))
    events = (
        StatusEvent(Stage.ANSWERING, AnswerMode.EXTRACTIVE, "quotes"),
        PassagesEvent((Passage(chunk, 0.5),)),
        TokenEvent("26 weeks"),
        TokenEvent(" [1]"),
        CitationEvent(Citation(1, chunk, "26 weeks", 0, 8)),
        UsageEvent(Usage(7, 9)),
        DoneEvent(AnswerMode.EXTRACTIVE, FinishReason.STOP),
    )
    return CachedAnswer(revision, time.time(), events, Provenance(vector(asked), 0.25, documents or {}))


async def put(
    registry: RedisRegistry,
    tenant: str,
    name: str,
    *,
    groups: tuple[str, ...] = (),
    invalidation: CacheInvalidation | None = None,
) -> tuple[str, tuple[int, tuple[str, ...]]]:
    """Make a new version of a document current; gives its key and what an answer made from it rests on."""
    document = DocumentKey(f"documents/{tenant}/{name}")
    attempt = await registry.begin(document, embedding_model="m")
    state = Document(document.key, DocumentState.READY, generation=attempt.number, groups=groups)
    assert await registry.save(state, attempt, invalidation=invalidation)
    return document.key, (attempt.number, groups)


async def found(cache: RedisCache, key: CacheKey) -> CacheEntry | None:
    return (await cache.find(key)).entry


async def test_an_answer_comes_back_event_for_event(any_cache: RedisCache, key: CacheKey) -> None:
    assert await found(any_cache, key) is None
    remembered = answer()
    assert await any_cache.remember(key, remembered)
    for _ in range(2):
        held = await found(any_cache, key)
        assert held is not None
        assert (held.answer.events, held.answer.created_at) == (remembered.events, remembered.created_at)
        assert (held.id, held.question, held.fresh, held.similarity) == (key.id, key.question, True, 1.0)


async def test_equal_questions_are_one_question(any_cache: RedisCache, key: CacheKey) -> None:
    await any_cache.remember(key, answer())
    assert await found(any_cache, replace(key, question="  how LONG is\tthe leave ")) is not None
    assert await found(any_cache, replace(key, question="How long is a leave?")) is None


async def test_a_near_question_is_found_by_its_embedding(any_cache: RedisCache, key: CacheKey) -> None:
    other = replace(key, question="What is the oil for?")
    await any_cache.remember(key, answer())
    await any_cache.remember(other, answer(asked="oil"))
    await any_cache.find(key)
    (near,) = await neighbours(any_cache, key.partition, vector("leave"), at_least=0.9)
    assert (near.id, near.question) == (key.id, key.question)
    assert near.similarity == pytest.approx(1.0, abs=0.01)
    assert near.answer.events == answer().events
    both = await neighbours(any_cache, key.partition, vector("leave"), at_least=-1.0)
    assert [n.id for n in both] == [key.id, other.id]


async def entry_for(cache: RedisCache, key: CacheKey, asked: CacheKey) -> CacheEntry:
    """The entry under the key, as a candidate for another question."""
    await cache.find(asked, counted=False)
    lookup = await cache.candidates(asked, vector("leave"), at_least=0.9, limit=3, plausible=lambda _: True)
    (entry,) = lookup.candidates
    assert entry.id == key.id
    return entry


async def test_what_a_judge_accepts_is_another_key_of_the_same_entry_and_leaves_with_it(
    any_cache: RedisCache, client: Redis, make_index: QuestionIndex, key: CacheKey
) -> None:
    tenant, asked = key.partition.scope.tenant, replace(key, question="May I ask how long the leave is?")
    elsewhere = RedisCache(client, make_index, LIMITS)
    for change in ("invalidated", "replaced", "flushed"):
        await any_cache.remember(key, answer())
        assert await found(any_cache, asked) is None
        assert await any_cache.accept(asked, await entry_for(any_cache, key, asked), Usage(40, 1))
        for cache in (any_cache, elsewhere, elsewhere):
            held = await found(cache, asked)
            assert held is not None
            assert (held.id, held.question, held.fresh) == (key.id, key.question, True)
            assert held.similarity == pytest.approx(1.0, abs=0.01)
        if change == "invalidated":
            assert await any_cache.invalidate(tenant, [key.answer_id], InvalidationReason.WRONG) == 1
        elif change == "replaced":
            await any_cache.remember(key, answer())
        else:
            maintenance = RedisCacheMaintenance(client, tenant_bytes=10**7, tenant_entries=100)
            assert await maintenance.flush(tenant, dry_run=False) == 1
        assert await found(any_cache, asked) is None, change
        assert await found(elsewhere, asked) is None, change
    stats = await RedisCacheMaintenance(client, tenant_bytes=1, tenant_entries=1).stats(tenant)
    assert (stats.semantic_hits, stats.judged, stats.judge_tokens) == (3, 3, 123)
    assert (stats.lookups, stats.exact_hits) == (18, 9)


async def test_what_a_judge_accepts_leaves_when_a_document_of_its_answer_changes(
    any_cache: RedisCache, registry: RedisRegistry, key: CacheKey
) -> None:
    tenant, asked = key.partition.scope.tenant, replace(key, question="May I ask how long the leave is?")
    documents = dict([await put(registry, tenant, "a.txt")])
    await any_cache.remember(key, answer(await registry.revision(tenant), documents=documents))
    entry = await entry_for(any_cache, key, asked)
    assert await any_cache.accept(asked, entry, Usage())
    assert await found(any_cache, asked) is not None
    await put(registry, tenant, "a.txt")
    assert await found(any_cache, asked) is None
    assert not await any_cache.accept(asked, entry, Usage()), "it was judged, but stands no more"
    assert await found(any_cache, asked) is None


async def test_a_verdict_on_an_answer_that_needs_revalidation_is_not_taken(
    any_cache: RedisCache, registry: RedisRegistry, key: CacheKey
) -> None:
    tenant, asked = key.partition.scope.tenant, replace(key, question="May I ask how long the leave is?")
    await any_cache.remember(key, answer(await registry.revision(tenant)))
    entry = await entry_for(any_cache, key, asked)
    await put(registry, tenant, "new.txt")
    assert not await any_cache.accept(asked, entry, Usage())
    lookup = await any_cache.candidates(asked, vector("leave"), at_least=0.9, limit=3, plausible=lambda _: True)
    assert lookup.candidates == ()


async def test_a_question_that_gets_an_answer_of_its_own_is_no_other_key_any_more(
    any_cache: RedisCache, client: Redis, make_index: QuestionIndex, key: CacheKey
) -> None:
    asked = replace(key, question="May I ask how long the leave is?")
    await any_cache.remember(key, answer())
    assert await any_cache.accept(asked, await entry_for(any_cache, key, asked), Usage())
    assert await found(any_cache, asked) is not None
    await RedisCache(client, make_index, LIMITS).remember(asked, answer(asked="else"))
    held = await found(any_cache, asked)
    assert held is not None
    assert (held.id, held.question) == (asked.id, asked.question)


async def test_an_entry_has_only_so_many_other_keys(any_cache: RedisCache, key: CacheKey) -> None:
    await any_cache.remember(key, answer())
    others = [replace(key, question=f"Wording number {number} of it?") for number in range(MOST_ALIASES + 2)]
    for asked in others:
        assert await any_cache.accept(asked, await entry_for(any_cache, key, asked), Usage())
    kept = [await found(any_cache, asked) is not None for asked in others]
    assert kept == [False, False] + [True] * MOST_ALIASES, "the oldest ones made room"


async def test_what_a_judge_rejects_is_no_candidate_for_that_question_again(
    any_cache: RedisCache, client: Redis, key: CacheKey
) -> None:
    asked = replace(key, question="How long is the notice?")
    another = replace(key, question="How short is the leave?")
    await any_cache.remember(key, answer())
    await any_cache.reject(asked, [await entry_for(any_cache, key, asked)], Usage(40, 1))
    lookup = await any_cache.candidates(asked, vector("leave"), at_least=0.9, limit=3, plausible=lambda _: True)
    assert lookup.candidates == ()
    assert await entry_for(any_cache, key, another), "for another question it still is one"
    await any_cache.remember(key, answer())
    assert await entry_for(any_cache, key, asked), "another answer to that question was not judged"
    tenant = key.partition.scope.tenant
    assert await client.zcard(rejected_key(tenant)) == 1
    assert 0 < await client.ttl(rejected_key(tenant)) <= 60


async def test_a_question_that_is_not_plausible_is_no_candidate(any_cache: RedisCache, key: CacheKey) -> None:
    await any_cache.remember(key, answer())
    asked = replace(key, question="How long is the notice?")
    heard: list[str] = []

    def plausible(text: str) -> bool:
        heard.append(text)
        return False

    await any_cache.find(asked)
    lookup = await any_cache.candidates(asked, vector("leave"), at_least=0.9, limit=3, plausible=plausible)
    assert (lookup.candidates, heard) == ((), [key.question])


async def test_nothing_crosses_a_partition(any_cache: RedisCache, registry: RedisRegistry, key: CacheKey) -> None:
    await any_cache.remember(key, answer())
    partition, tenant = key.partition, key.partition.scope.tenant
    await registry.open_epoch(tenant + "2")
    others = (
        replace(partition, fingerprint="model-2"),
        replace(partition, filter={"document": "a.txt"}),
        replace(partition, embedding_model="m2"),
        replace(partition, scope=Scope(tenant)),
        replace(partition, scope=Scope(tenant, frozenset({"staff", "board"}))),
        replace(partition, scope=Scope(tenant + "2", partition.scope.groups)),
    )
    for other in others:
        assert await found(any_cache, CacheKey(other, key.question)) is None
        assert await neighbours(any_cache, other, vector("leave"), at_least=-1.0) == []


async def test_an_answer_whose_document_changed_is_gone(
    any_cache: RedisCache, registry: RedisRegistry, client: Redis, key: CacheKey
) -> None:
    tenant = key.partition.scope.tenant
    for change in ("replaced", "narrowed", "removed"):
        documents = dict([await put(registry, tenant, "a.txt"), await put(registry, tenant, "b.txt")])
        await any_cache.remember(key, answer(await registry.revision(tenant), documents=documents))
        held = await found(any_cache, key)
        assert held is not None
        assert held.answer.provenance.documents == documents
        attempt = await registry.begin(DocumentKey(f"documents/{tenant}/b.txt"), embedding_model="m")
        assert await found(any_cache, key) is not None, "until the flip, the answer is right"
        if change == "removed":
            await registry.remove(attempt)
        else:
            groups = ("hr",) if change == "narrowed" else ()
            number = documents[attempt.key.key][0] if change == "narrowed" else attempt.number
            state = Document(attempt.key.key, DocumentState.READY, generation=number, groups=groups)
            await registry.save(state, attempt)
        assert await found(any_cache, key) is None, change
        assert await neighbours(any_cache, key.partition, vector("leave"), at_least=0.9) == []
    tally = await client.hgetall(counters_key(tenant))
    assert (tally[b"invalidated:changed"], tally[b"entries"], tally[b"bytes"]) == (b"3", b"0", b"0")


async def test_a_document_that_comes_puts_answers_in_doubt_until_somebody_looks(
    any_cache: RedisCache, registry: RedisRegistry, key: CacheKey
) -> None:
    tenant = key.partition.scope.tenant
    await any_cache.remember(key, answer(await registry.revision(tenant)))
    await put(registry, tenant, "new.txt")
    lookup = await any_cache.find(key)
    assert lookup.entry is not None
    assert lookup.revision == await registry.revision(tenant)
    assert not lookup.entry.fresh
    assert await any_cache.revalidate(key, lookup.entry, revision=lookup.revision)
    fresh = await found(any_cache, key)
    assert fresh is not None
    assert fresh.fresh
    await put(registry, tenant, "newer.txt")
    doubted = await found(any_cache, key)
    assert doubted is not None
    assert not doubted.fresh


async def test_a_document_that_goes_puts_no_other_answer_in_doubt(
    any_cache: RedisCache, registry: RedisRegistry, key: CacheKey
) -> None:
    tenant = key.partition.scope.tenant
    document, _ = await put(registry, tenant, "other.txt")
    await any_cache.remember(key, answer(await registry.revision(tenant)))
    await registry.remove(await registry.begin(DocumentKey(document), embedding_model="m"))
    held = await found(any_cache, key)
    assert held is not None
    assert held.fresh


async def test_a_flip_with_a_clearance_takes_out_the_doomed_and_leaves_the_rest_settled(
    any_cache: RedisCache, registry: RedisRegistry, client: Redis, key: CacheKey
) -> None:
    tenant, other = key.partition.scope.tenant, replace(key, question="What is the oil for?")
    revision = await registry.revision(tenant)
    for each, asked in ((key, "leave"), (other, "oil")):
        await any_cache.remember(each, answer(revision, asked))
    document = DocumentKey(f"documents/{tenant}/new.txt")
    attempt = await registry.begin(document, embedding_model="m")
    state = Document(document.key, DocumentState.READY, generation=attempt.number)
    doomed = ((key.partition.name, key.id),)
    assert not await registry.save(state, attempt, invalidation=CacheInvalidation(1, doomed)), (
        "two answers have come in"
    )
    assert await registry.revision(tenant) == revision
    assert await found(any_cache, key) is not None
    assert await registry.save(state, attempt, invalidation=CacheInvalidation(2, doomed))
    assert await registry.save(state, attempt, invalidation=CacheInvalidation(2, doomed)), "sent again, it took effect"
    assert await found(any_cache, key) is None
    held = await found(any_cache, other)
    assert held is not None
    assert held.fresh
    assert [n.id for n in await neighbours(any_cache, key.partition, vector("leave"), at_least=-1.0)] == [other.id]
    assert await client.hget(counters_key(tenant), "invalidated:superseded") == b"1"


async def test_an_answer_made_before_a_change_is_not_taken_in_after_it(
    any_cache: RedisCache, registry: RedisRegistry, key: CacheKey
) -> None:
    tenant = key.partition.scope.tenant
    before = await registry.revision(tenant)
    await put(registry, tenant, "new.txt")
    assert not await any_cache.remember(key, answer(before))
    assert await found(any_cache, key) is None
    assert await any_cache.remember(key, answer(await registry.revision(tenant)))
    assert await found(any_cache, key) is not None


async def test_nothing_is_served_while_the_registry_is_not_whole(
    any_cache: RedisCache, registry: RedisRegistry, key: CacheKey
) -> None:
    tenant = key.partition.scope.tenant
    await any_cache.remember(key, answer(await registry.revision(tenant)))
    await registry.distrust(tenant)
    assert (await any_cache.find(key)).entry is None
    assert await any_cache.remember(key, answer(await registry.revision(tenant))), "nothing to be done about it"
    await registry.open_epoch(tenant)
    held = await found(any_cache, key)
    assert held is not None
    assert not held.fresh, "what was made before the doubt is not believed after it"


async def test_a_retired_answer_is_gone_at_once_and_worth_asking_again(
    any_cache: RedisCache, client: Redis, key: CacheKey
) -> None:
    tenant = key.partition.scope.tenant
    await any_cache.remember(key, answer())
    assert await found(any_cache, key) is not None
    assert (
        await any_cache.invalidate(
            tenant, [key.answer_id, f"{key.partition.name}-{'0' * 24}"], InvalidationReason.WRONG
        )
        == 1
    )
    assert await found(any_cache, key) is None
    assert await neighbours(any_cache, key.partition, vector("leave"), at_least=-1.0) == []
    assert await any_cache.invalidate(tenant, [key.answer_id], InvalidationReason.WRONG) == 0
    await any_cache.remember(key, answer())
    assert await found(any_cache, key) is not None
    await any_cache.invalidate(tenant, [key.answer_id], InvalidationReason.SUPERSEDED, warm=True)
    (member,) = cast("list[bytes]", await client.zrange(warm_key(tenant), 0, -1))
    assert member.decode().endswith("\n" + key.question)


async def test_entries_expire_before_their_partition_does(any_cache: RedisCache, client: Redis, key: CacheKey) -> None:
    await any_cache.remember(key, answer())
    tenant, name = key.partition.scope.tenant, key.partition.name
    entry, partition = entry_key(tenant, name, key.id), partition_key(tenant, name)
    assert 50_000 <= await client.pttl(entry) <= 60_000 < await client.pttl(partition)


async def test_an_entry_whose_index_is_lost_is_not_served(any_cache: RedisCache, client: Redis, key: CacheKey) -> None:
    await any_cache.remember(key, answer())
    await client.delete(partition_key(key.partition.scope.tenant, key.partition.name))
    assert await found(any_cache, key) is None
    await any_cache.remember(replace(key, question="Another?"), answer())
    assert await found(any_cache, key) is None


async def test_an_entry_of_another_release_is_a_miss(any_cache: RedisCache, client: Redis, key: CacheKey) -> None:
    await any_cache.remember(key, answer())
    entry = entry_key(key.partition.scope.tenant, key.partition.name, key.id)
    await client.hset(entry, "body", b"not ours")
    assert await found(any_cache, key) is None


async def test_what_is_worth_least_makes_room(client: Redis, make_index: QuestionIndex, key: CacheKey) -> None:
    cache = RedisCache(client, make_index, replace(LIMITS, tenant_entries=3))
    tenant = key.partition.scope.tenant
    for number in range(4):
        each = replace(key, question=f"q{number}")
        await cache.remember(each, answer(asked=f"q{number}"))
        for _ in range(3 - number):
            await cache.find(each)
    kept = [number for number in range(4) if await found(cache, replace(key, question=f"q{number}"))]
    assert kept == [0, 1, 2], "the one that nobody asked for again"
    tally = await client.hgetall(counters_key(tenant))
    assert (tally[b"entries"], tally[b"invalidated:evicted"]) == (b"3", b"1")
    small = RedisCache(client, make_index, replace(LIMITS, tenant_bytes=int(tally[b"bytes"]) - 1))
    await small.remember(replace(key, question="q5"), answer(asked="q5"))
    assert int(await client.hget(counters_key(tenant), "bytes") or 0) < int(tally[b"bytes"])
    tiny = RedisCache(client, make_index, replace(LIMITS, answer_bytes=100))
    await tiny.remember(replace(key, question="q6"), answer(asked="q6"))
    assert await found(tiny, replace(key, question="q6")) is None


async def test_an_answer_that_is_made_again_takes_the_place_of_the_old_one(
    any_cache: RedisCache, client: Redis, key: CacheKey
) -> None:
    for _ in range(3):
        last = answer()
        await any_cache.remember(key, last)
        held = await found(any_cache, key)
        assert held is not None
        assert held.answer.created_at == last.created_at
    assert len(await neighbours(any_cache, key.partition, vector("leave"), at_least=-1.0)) == 1
    assert await client.hget(counters_key(key.partition.scope.tenant), "entries") == b"1"


async def test_processes_see_each_others_answers(client: Redis, make_index: QuestionIndex, key: CacheKey) -> None:
    one = RedisCache(client, make_index, LIMITS)
    fresh = LocalQuestionIndex(client, most_bytes=1) if make_index.kind == "local" else ServerQuestionIndex(client)
    other = RedisCache(client, fresh, LIMITS)
    for number in range(40):
        each = replace(key, question=f"question {number}")
        await one.remember(each, answer(asked=f"q{number}"))
        if number % 3 == 0:
            await one.invalidate(key.partition.scope.tenant, [each.answer_id], InvalidationReason.WRONG)
        if number % 7 == 0:
            await other.find(key)
            near = await neighbours(other, key.partition, vector(f"q{number}"), at_least=0.99)
            assert [n.question for n in near] == ([] if number % 3 == 0 else [each.question])


@pytest.mark.parametrize("client", ["local", "cluster"], indirect=True)
async def test_a_server_that_lost_its_last_writes_is_not_taken_for_what_it_was(
    client: Redis, make_index: QuestionIndex, key: CacheKey
) -> None:
    one, other = (
        RedisCache(client, index, LIMITS) for index in (make_index, LocalQuestionIndex(client, most_bytes=10**7))
    )
    first, lost, later = (replace(key, question=f"question {number}") for number in range(3))
    place = partition_key(key.partition.scope.tenant, key.partition.name)
    await one.remember(first, answer(asked="q0"))
    before = cast("dict[bytes, bytes]", await client.hgetall(place))
    await one.remember(lost, answer(asked="q1"))
    await other.find(key)
    assert len(await neighbours(other, key.partition, vector("q1"), at_least=-1.0)) == 2
    # A replica takes over that never heard of the second answer.
    await client.delete(place, entry_key(key.partition.scope.tenant, key.partition.name, lost.id))
    await client.hset(place, mapping=before)  # type: ignore[arg-type]
    await one.remember(later, answer(asked="q2"))
    await other.find(key)
    near = await neighbours(other, key.partition, vector("q2"), at_least=-1.0)
    assert {each.question for each in near} == {first.question, later.question}


@pytest.mark.parametrize("client", ["local", "cluster"], indirect=True)
async def test_a_process_holds_no_more_partitions_than_it_may(client: Redis, key: CacheKey) -> None:
    index = LocalQuestionIndex(client, most_bytes=20_000)
    cache = RedisCache(client, index, LIMITS)
    for number in range(40):
        each = replace(key, partition=replace(key.partition, filter={"page": number}), question="q" * 3_000)
        await cache.remember(each, answer())
        await cache.find(each)
        (near,) = await neighbours(cache, each.partition, vector("leave"), at_least=0.9)
        assert near.question == each.question
        assert index.size <= 20_000
    assert (await cache.find(key)).entry is None


async def test_lookups_of_one_moment_do_not_mix(any_cache: RedisCache, key: CacheKey) -> None:
    keys = [replace(key, question=f"q{number}") for number in range(100)]
    for number in range(0, 100, 2):
        await any_cache.remember(keys[number], answer(asked=f"q{number}"))
    answers = await asyncio.gather(*(found(any_cache, each) for each in keys))
    assert [held.question if held else None for held in answers] == [
        each.question if number % 2 == 0 else None for number, each in enumerate(keys)
    ]


async def test_decoded_answers_are_held_to_so_many_bytes(
    any_cache: RedisCache, make_index: QuestionIndex, client: Redis, key: CacheKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.redis_state.answer_cache.lookups.DECODED_BYTES", 20_000)
    lookups = Lookups(client, make_index, timeout_seconds=5.0)
    keys = [replace(key, question=f"q{number}") for number in range(20)]
    for each in keys:
        await any_cache.remember(each, answer(asked=each.question))
    for _ in range(2):
        looks = [lookups.find(key.partition, each.id, kind="exact") for each in keys]
        assert all(look.entry for look in await asyncio.gather(*looks))
        assert 0 < lookups.size <= 20_000
        for each in keys:
            assert (await lookups.find(key.partition, each.id, kind="exact")).entry


async def test_an_entry_that_can_not_be_read_is_nobody_elses_fault(
    any_cache: RedisCache, client: Redis, key: CacheKey
) -> None:
    other = replace(key, question="Another?")
    for each in (key, other):
        await any_cache.remember(each, answer())
    await client.hset(entry_key(key.partition.scope.tenant, key.partition.name, key.id), "admission_score", b"not ours")
    broken, whole = await asyncio.gather(found(any_cache, key), found(any_cache, other))
    assert broken is None
    assert whole is not None


@pytest.mark.parametrize("client", ["local", "cluster"], indirect=True)
async def test_lookups_that_are_answered_in_another_order_cost_no_reading_anew(client: Redis, key: CacheKey) -> None:
    reads = 0

    class Counting(LocalQuestionIndex):
        async def _fill(self, key: str, held: Any) -> None:
            nonlocal reads
            reads += 1
            await super()._fill(key, held)

    index = Counting(client, most_bytes=10**7)
    cache = RedisCache(client, index, LIMITS)
    tenant, place = key.partition.scope.tenant, partition_key(key.partition.scope.tenant, key.partition.name)
    await cache.remember(key, answer())
    await cache.find(key)
    await neighbours(cache, key.partition, vector("leave"), at_least=0.9)
    start, news = index.known(key.partition), script(client, "log_since")
    heard = []
    for number in range(2):
        await cache.remember(replace(key, question=f"q{number}"), answer(asked=f"q{number}"))
        heard.append(await news(keys=[place], args=list(start)))
    for late in reversed(heard):
        index.learn(key.partition, start, late)
    assert len(await neighbours(cache, key.partition, vector("q1"), at_least=-1.0)) == 3
    assert reads <= 1, tenant


@pytest.mark.parametrize("client", ["local", "cluster"], indirect=True)
async def test_what_is_heard_while_a_partition_is_read_is_not_forgotten(client: Redis, key: CacheKey) -> None:
    class Slow:
        """The client, whose replies to HGETALL take their time."""

        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

        async def hgetall(self, name: str) -> Any:
            fields = await client.hgetall(name)
            filled.set()
            await going_on.wait()
            return fields

    filled, going_on = asyncio.Event(), asyncio.Event()
    writer = RedisCache(client, LocalQuestionIndex(client, most_bytes=10**7), LIMITS)
    reader = RedisCache(client, LocalQuestionIndex(cast("Redis", Slow()), most_bytes=10**7), LIMITS)
    await writer.remember(key, answer())
    await reader.find(key)
    reading = asyncio.create_task(neighbours(reader, key.partition, vector("oil"), at_least=-1.0))
    await filled.wait()
    await writer.remember(replace(key, question="What is the oil for?"), answer(asked="oil"))
    await reader.find(key)
    going_on.set()
    assert len(await reading) == 2
    assert len(await neighbours(reader, key.partition, vector("oil"), at_least=-1.0)) == 2


@pytest.mark.parametrize("client", ["local", "cluster"], indirect=True)
async def test_an_index_of_another_release_is_taken_out(
    client: Redis, make_index: QuestionIndex, key: CacheKey
) -> None:
    cache = RedisCache(client, make_index, LIMITS)
    await cache.remember(key, answer())
    place = partition_key(key.partition.scope.tenant, key.partition.name)
    await client.hdel(place, "checksum", "packed_checksum")
    assert await found(cache, key) is not None
    assert await neighbours(cache, key.partition, vector("leave"), at_least=0.9) == []
    maintenance = RedisCacheMaintenance(client, tenant_bytes=10**7, tenant_entries=100)
    assert (await maintenance.compact(key.partition.scope.tenant, dry_run=False))["packed"] == 1
    assert not await client.exists(place)
    assert await found(cache, key) is None
    await cache.remember(key, answer())
    assert await found(cache, key) is not None
    assert await neighbours(cache, key.partition, vector("leave"), at_least=0.9)


async def test_a_server_that_is_gone_or_silent_is_a_miss_and_no_fault(key: CacheKey) -> None:
    async with silent() as silent_url:
        for url in (silent_url, f"redis://127.0.0.1:{free_port()}/0"):
            async with open_redis(url) as client:
                limits = replace(LIMITS, timeout_seconds=0.05)
                cache = RedisCache(client, LocalQuestionIndex(client, most_bytes=1), limits)
                await cache.remember(key, answer())
                started = time.monotonic()
                for _ in range(100):
                    lookup = await cache.find(key)
                    assert (lookup.entry, lookup.revision) == (None, None)
                assert time.monotonic() - started < 100 * 0.05 / 2, "after some failures, nobody waits"
                assert await cache.invalidate("t", [key.answer_id], InvalidationReason.WRONG) is None, "nobody knows"


async def test_a_tenant_has_only_so_many_partitions(
    client: Redis, any_cache: RedisCache, key: CacheKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.redis_state.answer_cache.cache.MOST_PARTITIONS_TEXT", 84)
    tenant = key.partition.scope.tenant
    kept = 0
    for number in range(6):
        each = replace(key, partition=replace(key.partition, filter={"page": number}))
        assert await any_cache.remember(each, answer())
        kept += await found(any_cache, each) is not None
        assert bool(await client.exists(partition_key(tenant, each.partition.name))) is (number < 3)
    assert kept == 3
