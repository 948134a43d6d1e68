"""The cache maintenance function: what it takes out, packs, warms and reports, in time, beside live traffic, and by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis

from functions.cache_maintenance.documents import DocumentDependencies
from functions.cache_maintenance.main import MaintenanceDependencies, handle, report_to_cloudwatch
from functions.cache_maintenance.sweep import CacheDependencies
from headrace.answering.answer import answer
from headrace.answering.dependencies import AnswerDependencies
from headrace.embedders.minilm import MiniLMEmbedder
from headrace.redis_state.answer_cache.cache import RedisCache
from headrace.redis_state.answer_cache.maintenance import CHANGES, RedisCacheMaintenance
from headrace.redis_state.answer_cache.question_index import LocalQuestionIndex
from headrace.redis_state.layout import counters_key, entry_key, partition_key, scores_key
from headrace.redis_state.registry import RedisRegistry
from headrace.types import (
    AnswerEvent,
    CacheKey,
    Document,
    DocumentKey,
    DocumentState,
    DoneEvent,
    InvalidationReason,
    Partition,
    Principal,
    Question,
    Scope,
)
from tests.contract.test_caches import LIMITS
from tests.contract.test_caches import answer as cached
from tests.support.answer_cache import neighbours
from tests.support.chunks import vector
from tests.support.ingest import FolderBucket
from tests.support.library import Library

SOON = 1e12
LEAVE = "Parents may take 26 weeks of parental leave."


class OneTenant(RedisRegistry):
    """The registry as if this tenant were the only one: the tests share a server."""

    def __init__(self, client: Redis, *tenants: str) -> None:
        super().__init__(client)
        self._tenants = sorted(tenants)

    async def tenants(self) -> list[str]:
        await asyncio.sleep(0)
        return self._tenants


@pytest.fixture
def cache(redis: Redis) -> RedisCache:
    return RedisCache(redis, LocalQuestionIndex(redis, most_bytes=10**7), LIMITS)


@pytest.fixture
async def key(tenant: str, registry: RedisRegistry) -> CacheKey:
    await registry.open_epoch(tenant)
    return CacheKey(Partition(Scope(tenant), "f", "m", 0.6), "How long is the leave?")


@pytest.fixture
def deps(redis: Redis, tenant: str, answer_deps: Callable[..., AnswerDependencies]) -> MaintenanceDependencies:
    registry = OneTenant(redis, tenant)

    @asynccontextmanager
    async def open_answering() -> AsyncIterator[AnswerDependencies]:
        yield answer_deps()

    maintenance = RedisCacheMaintenance(redis, tenant_bytes=10**7, tenant_entries=1000)
    cache = CacheDependencies(maintenance, registry, "m", open_answering, token_price=2e-6)
    return MaintenanceDependencies(DocumentDependencies(registry, FolderBucket(), None), cache)


async def by_hand(deps: MaintenanceDependencies, action: str, **given: Any) -> dict[str, Any]:
    return await handle({"action": action, **given}, deps, deadline=SOON)


async def tally(redis: Redis, tenant: str) -> dict[str, int]:
    counts: Any = await redis.hgetall(counters_key(tenant))
    return {name.decode(): int(value) for name, value in counts.items() if value.isdigit()}


async def test_a_sweep_takes_out_what_holds_no_more_and_a_dry_run_only_says_so(
    deps: MaintenanceDependencies, cache: RedisCache, redis: Redis, registry: RedisRegistry, key: CacheKey, tenant: str
) -> None:
    keys = {name: replace(key, question=name) for name in ("kept", "expired", "changed", "orphaned", "model")}
    document = DocumentKey(f"documents/{tenant}/gone.txt")
    keys["model"] = replace(keys["model"], partition=replace(key.partition, embedding_model="old"))
    keys["orphaned"] = replace(keys["orphaned"], partition=replace(key.partition, fingerprint="g"))
    for name, each in keys.items():
        made = cached(asked=name)
        if name == "changed":
            made = replace(made, provenance=replace(made.provenance, documents={document.key: (7, ())}))
        await cache.remember(each, made)
    await redis.delete(entry_key(tenant, key.partition.name, keys["expired"].id))
    await redis.delete(partition_key(tenant, keys["orphaned"].partition.name))
    expected = {"fresh": 1, "expired": 1, "changed": 1, "orphaned": 1, "model": 1}
    dry = await by_hand(deps, "sweep", dry_run=True)
    assert {name: dry["found"].get(name) for name in expected} == expected
    assert (await tally(redis, tenant))["entries"] == 5
    wet = await by_hand(deps, "sweep", tenant=tenant)
    assert {name: wet["found"].get(name) for name in expected} == expected
    assert wet["checkpoint"] is None
    counts = await tally(redis, tenant)
    assert counts["entries"] == 1
    assert {name: counts[f"invalidated:{name}"] for name in expected if name != "fresh"} == dict.fromkeys(
        ("expired", "changed", "orphaned", "model"), 1
    )
    again = await by_hand(deps, "sweep")
    assert {name: count for name, count in again["found"].items() if count} == {"fresh": 1}
    await cache.find(key)
    (near,) = await neighbours(cache, key.partition, vector("kept"), at_least=-1.0)
    assert near.question == "kept"


async def test_a_sweep_that_runs_out_of_time_goes_on_where_it_stood(
    deps: MaintenanceDependencies, cache: RedisCache, redis: Redis, key: CacheKey, tenant: str
) -> None:
    for number in range(700):
        await cache.remember(replace(key, question=f"q{number}"), cached(asked=f"q{number}"))
    ticks = iter(range(10**6))
    slow = replace(deps, cache=replace(deps.cache, clock=lambda: float(next(ticks))))
    place: dict[str, Any] | None = {}
    found = runs = 0
    while place is not None:
        done = await handle({"action": "sweep", "checkpoint": place}, slow, deadline=float(next(ticks)) + 3)
        found += done["found"].get("fresh", 0)
        place = done["checkpoint"]
        runs += 1
        assert runs < 50
    assert runs > 1
    assert found >= 700, "a page may show an entry twice, but leaves none out"
    # The schedule's runs remember it themselves.
    cut = await handle({}, slow, deadline=float(next(ticks)) + 3)
    assert cut["checkpoint"] is not None
    assert await slow.cache.maintenance.checkpoint() == cut["checkpoint"]
    whole = await handle({}, deps, deadline=SOON)
    assert whole["checkpoint"] is None
    assert await deps.cache.maintenance.checkpoint() == {}


async def test_packing_an_index_changes_nothing_of_what_it_finds(
    deps: MaintenanceDependencies, cache: RedisCache, redis: Redis, key: CacheKey, tenant: str
) -> None:
    async def put(numbers: range) -> None:
        for number in numbers:
            await cache.remember(replace(key, question=f"q{number}"), cached(asked=f"q{number}"))

    await put(range(CHANGES))
    for number in range(0, CHANGES, 2):
        await cache.invalidate(tenant, [replace(key, question=f"q{number}").answer_id], InvalidationReason.WRONG)
    index = partition_key(tenant, key.partition.name)
    behind = RedisCache(redis, LocalQuestionIndex(redis, most_bytes=10**7), LIMITS)
    await behind.find(key)
    await neighbours(behind, key.partition, vector("q1"), at_least=0.9)
    await put(range(CHANGES, CHANGES + 5))
    done = await by_hand(deps, "sweep")
    assert done["found"]["packed"] == 1
    fields: Any = await redis.hgetall(index)
    assert fields[b"packed"] == fields[b"seq"]
    assert not [name for name in fields if name.startswith(b"e:")]
    await put(range(CHANGES + 5, CHANGES + 8))
    fresh = RedisCache(redis, LocalQuestionIndex(redis, most_bytes=10**7), LIMITS)
    for each in (cache, behind, fresh):
        await each.find(key)
        for number in (0, 1, CHANGES - 1, CHANGES + 2, CHANGES + 7):
            near = await neighbours(each, key.partition, vector(f"q{number}"), at_least=0.99)
            assert [n.question for n in near] == ([] if number == 0 else [f"q{number}"])


async def test_sweeps_beside_each_other_and_beside_traffic_lose_nothing(
    deps: MaintenanceDependencies, cache: RedisCache, redis: Redis, key: CacheKey, tenant: str
) -> None:
    async def traffic() -> None:
        for number in range(300):
            each = replace(key, question=f"q{number}")
            await cache.remember(each, cached(asked=f"q{number}"))
            assert (await cache.find(each)).entry is not None

    async def sweeping() -> None:
        while not busy.done():
            await by_hand(deps, "sweep")

    busy = asyncio.create_task(traffic())
    await asyncio.gather(busy, *(sweeping() for _ in range(3)))
    assert (await tally(redis, tenant))["entries"] == 300
    fresh = RedisCache(redis, LocalQuestionIndex(redis, most_bytes=10**7), LIMITS)
    for number in range(300):
        assert (await fresh.find(replace(key, question=f"q{number}"))).entry is not None
        (near,) = await neighbours(fresh, key.partition, vector(f"q{number}"), at_least=0.99)
        assert near.question == f"q{number}"


async def test_a_tenant_over_its_quota_is_brought_back(
    deps: MaintenanceDependencies, cache: RedisCache, redis: Redis, key: CacheKey, tenant: str
) -> None:
    for number in range(10):
        each = replace(key, question=f"q{number}")
        await cache.remember(each, cached(asked=f"q{number}"))
        if number % 2:
            await cache.find(each)
    small = RedisCacheMaintenance(redis, tenant_bytes=10**7, tenant_entries=5)
    done = await by_hand(replace(deps, cache=replace(deps.cache, maintenance=small)), "sweep")
    assert done["found"]["evicted"] == 5
    kept = [number for number in range(10) if (await cache.find(replace(key, question=f"q{number}"))).entry]
    assert kept == [1, 3, 5, 7, 9], "what somebody asked for again"


async def test_a_tally_whose_ledger_was_lost_is_right_after_a_sweep(
    deps: MaintenanceDependencies, cache: RedisCache, redis: Redis, key: CacheKey, tenant: str
) -> None:
    for number in range(5):
        await cache.remember(replace(key, question=f"q{number}"), cached(asked=f"q{number}"))
    each = (await tally(redis, tenant))["bytes"] // 5
    await redis.delete(scores_key(tenant))
    await cache.remember(replace(key, question="q9"), cached(asked="q9"))
    assert (await tally(redis, tenant))["entries"] == 6
    await by_hand(deps, "sweep", dry_run=True)
    assert (await tally(redis, tenant))["entries"] == 6
    await by_hand(deps, "sweep")
    found = await tally(redis, tenant)
    assert (found["entries"], found["bytes"]) == (1, each)


async def test_answers_are_taken_out_by_hand(
    deps: MaintenanceDependencies, cache: RedisCache, redis: Redis, registry: RedisRegistry, key: CacheKey, tenant: str
) -> None:
    document = DocumentKey(f"documents/{tenant}/a.txt")
    attempt = await registry.begin(document, embedding_model="m")
    await registry.save(Document(document.key, DocumentState.READY, generation=3), attempt)
    revision = await registry.revision(tenant)
    await cache.remember(key, cached(revision, documents={document.key: (3, ())}))
    other = replace(key, question="What is the oil for?")
    await cache.remember(other, cached(revision, "oil"))
    assert await by_hand(deps, "invalidate", tenant=tenant, document=document.key, dry_run=True) == {"invalidated": 1}
    assert (await cache.find(key)).entry is not None
    assert await by_hand(deps, "invalidate", tenant=tenant, document=document.key) == {"invalidated": 1}
    assert (await cache.find(key)).entry is None
    assert await by_hand(deps, "invalidate", tenant=tenant, question="THE OIL") == {"invalidated": 1}
    await cache.remember(key, cached(revision))
    assert await by_hand(deps, "invalidate", tenant=tenant, answer_id=key.answer_id) == {"invalidated": 1}
    await cache.remember(key, cached(revision))
    assert await by_hand(deps, "flush", tenant=tenant, dry_run=True) == {"flushed": 1}
    assert await by_hand(deps, "flush", tenant=tenant) == {"flushed": 1}
    assert (await cache.find(key)).entry is None
    assert (await by_hand(deps, "stats", tenant=tenant))[tenant]["entries"] == 0
    await cache.remember(key, cached(revision))
    assert (await cache.find(key)).entry is not None


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({"action": "sweeep"}, "can be sweep, stats"),
        ({"action": "sweep", "dryrun": True}, "does not take dryrun"),
        ({"action": "flush"}, "needs a `tenant`"),
        ({"action": "invalidate", "tenant": "t"}, "Say which"),
    ],
)
async def test_an_action_that_can_not_be_understood_says_what_can(
    event: dict[str, Any], says: str, deps: MaintenanceDependencies
) -> None:
    answer = await handle(event, deps, deadline=SOON)
    assert says in answer["error"]["message"]


async def test_the_most_valuable_questions_are_asked_again_after_a_change(
    deps: MaintenanceDependencies,
    answer_deps: Callable[..., AnswerDependencies],
    library: Library,
    embedder: MiniLMEmbedder,
    redis: Redis,
    tenant: str,
) -> None:
    await library.put("handbook.txt", LEAVE)
    asking = answer_deps()

    async def ask(question: str) -> list[AnswerEvent]:
        asked = Question(question, Principal(tenant, frozenset({"hr"})), history=())
        return [event async for event in answer(asked, asking)]

    loved, liked = "How many weeks of parental leave are there?", "Who may take parental leave?"
    for question, times in ((loved, 4), (liked, 2)):
        for _ in range(times):
            await ask(question)
    await library.put("handbook.txt", LEAVE.replace("26", "31"))
    own = replace(deps, cache=replace(deps.cache, embedding_model=embedder.model))
    await by_hand(own, "sweep")
    assert (await by_hand(own, "warm", dry_run=True)) == {"would_warm": [loved, liked]}
    assert (await by_hand(own, "warm", budget=1))["warmed"] == 1
    events = await ask(loved)
    assert isinstance(events[-1], DoneEvent)
    assert events[-1].cached
    assert "31 weeks" in "".join(getattr(event, "text", "") for event in events)
    last = (await ask(liked))[-1]
    assert isinstance(last, DoneEvent)
    assert not last.cached
    assert (await by_hand(own, "warm", dry_run=True)) == {"would_warm": [liked]}


async def test_a_scheduled_run_reports_what_came_since_the_last_one(
    deps: MaintenanceDependencies, cache: RedisCache, key: CacheKey, tenant: str
) -> None:
    await cache.remember(key, cached())
    for _ in range(3):
        await cache.find(key)
    await cache.find(replace(key, question="Another?"))
    first = (await handle({}, deps, deadline=SOON))["cache"][tenant]
    assert (first["lookups"], first["hit_rate"], first["tokens_saved"]) == (4, 0.75, 48)
    assert first["dollars_saved"] == round(48 * 2e-6, 4)
    second = (await handle({}, deps, deadline=SOON))["cache"][tenant]
    assert (second["lookups"], second["tokens_saved"], second["entries"]) == (0, 0, 1)


@pytest.mark.parametrize("by_tenant", [False, True])
async def test_the_report_is_a_line_of_embedded_metrics(
    deps: MaintenanceDependencies,
    cache: RedisCache,
    key: CacheKey,
    tenant: str,
    capsys: pytest.CaptureFixture[str],
    by_tenant: bool,
) -> None:
    await cache.remember(key, cached())
    await cache.find(key)
    report = partial(report_to_cloudwatch, namespace="Headrace/dev", by_tenant=by_tenant)
    told = replace(deps, cache=replace(deps.cache, report=report))
    await handle({}, told, deadline=SOON)
    (line,) = [text for text in capsys.readouterr().out.splitlines() if '"CacheLookups"' in text]
    metrics = json.loads(line)
    assert metrics.get("tenant") == (tenant if by_tenant else None), "a dimension costs by its values"
    assert (metrics["CacheLookups"], metrics["CacheHitRate"], metrics["CacheTokensSaved"]) == ([1.0], [100.0], [16.0])
    assert metrics["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Headrace/dev"
    await handle({}, told, deadline=SOON)
    assert '"CacheLookups"' not in capsys.readouterr().out, "nobody asked since: nothing is told, which would cost"
