"""Equal questions asked at the same time are one call of the model, here and across processes, and nobody waits for the dead."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from redis.asyncio import Redis

from headrace.answering.answer import answer
from headrace.answering.dependencies import AnswerDependencies
from headrace.clients.redis import open_redis, tenant_key
from headrace.embedders.minilm import MiniLMEmbedder
from headrace.errors import ModelUnavailableError
from headrace.models.openai import OpenAIModel, open_openai_model
from headrace.redis_state.registry import RedisRegistry
from headrace.redis_state.relay import RedisRelay
from headrace.settings import Settings
from headrace.single_flight.flight import SingleFlight
from headrace.single_flight.splice import Splice, without_false_starts
from headrace.stores.qdrant import open_qdrant_store
from headrace.types import (
    AnswerEvent,
    AnswerMode,
    CacheVerdict,
    Chunk,
    Citation,
    CitationEvent,
    DoneEvent,
    FinishReason,
    Lead,
    Passage,
    PassagesEvent,
    Principal,
    Question,
    Stage,
    StatusEvent,
    TokenEvent,
    Usage,
    UsageEvent,
    text_of,
)
from headrace.wiring import collection_of
from infra.local.processes import free_port
from tests.support.crashes import Crash
from tests.support.faults import Faults, cutting_proxy, silent
from tests.support.http import sse_events
from tests.support.library import Library
from tests.support.openai_server import Script
from tests.support.processes import redis_server, running

LEAVE = "Parents may take 26 weeks of parental leave."
QUESTION = "How many weeks of parental leave are there?"
REPLY = "You may take twenty-six weeks of leave as a parent [1] and that is all there is to say."


@pytest.fixture
async def model(openai_url: str, stack: AsyncExitStack) -> OpenAIModel:
    return await stack.enter_async_context(open_openai_model(api_key="k", base_url=openai_url, model="m"))


@pytest.fixture
def processes(
    answer_deps: Callable[..., AnswerDependencies], model: OpenAIModel, library: Library
) -> list[AnswerDependencies]:
    """Four processes' parts: each with flights and a cache of its own, all on one server."""
    return [answer_deps(model) for _ in range(4)]


async def ask(deps: AnswerDependencies, tenant: str, question: str = QUESTION) -> list[AnswerEvent]:
    asked = Question(question, Principal(tenant), history=())
    return [event async for event in answer(asked, deps)]


def last_text_of(events: list[AnswerEvent]) -> str:
    return text_of(without_false_starts(events))


async def test_a_hundred_equal_questions_are_one_call_and_all_of_them_stream(
    processes: list[AnswerDependencies], script: Script, library: Library
) -> None:
    await library.put("handbook.txt", LEAVE)
    script.reply, script.token_gap_seconds = (lambda _: REPLY), 0.05
    streaming: list[int] = []

    async def listen(number: int) -> list[AnswerEvent]:
        events: list[AnswerEvent] = []
        asked = Question(QUESTION, Principal(library.tenant), history=())
        async for event in answer(asked, processes[number % 4]):
            if isinstance(event, TokenEvent) and not any(isinstance(e, TokenEvent) for e in events):
                streaming.append(script.open_streams)
            events.append(event)
        return events

    heard = await asyncio.gather(*(listen(number) for number in range(100)))
    assert len(script.requests) == 1
    assert streaming == [1] * 100, "everybody's first token came while the model was writing"
    assert len({last_text_of(events) for events in heard}) == 1
    bodies = [[event for event in events if not isinstance(event, StatusEvent)] for events in heard]
    assert all(body == bodies[0] for body in bodies)
    verdicts = [event.cache for events in heard for event in events if isinstance(event, StatusEvent) and event.cache]
    assert sorted(set(verdicts)) == ["miss", "shared"]
    assert verdicts.count(CacheVerdict.MISS) == 1
    again = await ask(processes[3], library.tenant)
    assert isinstance(again[0], StatusEvent)
    assert again[0].stage == "cached"


async def test_different_questions_do_not_wait_for_each_other(
    processes: list[AnswerDependencies], script: Script, library: Library
) -> None:
    await library.put("handbook.txt", LEAVE)
    questions = [f"How many weeks of parental leave are there for case number {number}?" for number in range(10)]
    await asyncio.gather(*(ask(processes[0], library.tenant, question) for question in questions))
    assert len(script.requests) == 10


async def test_a_model_that_fails_fails_for_everybody_once_and_nothing_is_kept(
    processes: list[AnswerDependencies], script: Script, library: Library
) -> None:
    await library.put("handbook.txt", LEAVE)
    script.reply, script.token_gap_seconds, script.fail = (lambda _: REPLY), 0.02, ["cut"]
    faults = await asyncio.gather(
        *(ask(processes[number % 4], library.tenant) for number in range(20)), return_exceptions=True
    )
    assert {type(fault) for fault in faults} == {ModelUnavailableError}
    assert len({str(fault) for fault in faults}) == 1
    assert len(script.requests) == 1
    events = await ask(processes[1], library.tenant)
    assert last_text_of(events) == REPLY
    assert len(script.requests) == 2


async def test_when_the_first_asker_leaves_the_others_hear_the_answer_to_its_end(
    processes: list[AnswerDependencies], script: Script, library: Library
) -> None:
    await library.put("handbook.txt", LEAVE)
    script.reply, script.token_gap_seconds = (lambda _: REPLY), 0.03
    started = asyncio.Event()

    async def leaves() -> None:
        async for event in answer(Question(QUESTION, Principal(library.tenant), history=()), processes[0]):
            if isinstance(event, TokenEvent):
                started.set()

    first = asyncio.create_task(leaves())
    await started.wait()
    beside, elsewhere = (asyncio.create_task(ask(processes[number], library.tenant)) for number in (0, 1))
    await asyncio.sleep(0.05)
    first.cancel()
    await asyncio.wait({first})
    assert last_text_of(await beside) == last_text_of(await elsewhere) == REPLY
    assert len(script.requests) == 1, "somebody here still listened"
    assert script.open_streams == 0


async def test_when_everybody_here_leaves_somebody_elsewhere_takes_over_at_once(
    processes: list[AnswerDependencies], script: Script, library: Library, redis: Redis
) -> None:
    # Who isn't told looks again after a quarter of a lease.
    processes = [replace(deps, single_flight=SingleFlight(RedisRelay(redis, lease_seconds=60))) for deps in processes]
    await library.put("handbook.txt", LEAVE)
    script.reply, script.token_gap_seconds = (lambda _: REPLY), 0.03
    first = asyncio.create_task(ask(processes[0], library.tenant))
    async with asyncio.timeout(10):
        while not script.open_streams:
            await asyncio.sleep(0.01)
    others = [asyncio.create_task(ask(processes[number], library.tenant)) for number in (1, 2, 1)]
    await asyncio.sleep(0.1)
    first.cancel()
    async with asyncio.timeout(12):
        assert {last_text_of(events) for events in await asyncio.gather(*others)} == {REPLY}
    assert len(script.requests) == 2
    assert [event.cache for event in (await ask(processes[0], library.tenant)) if isinstance(event, StatusEvent)] == [
        "hit"
    ]


async def test_who_asks_after_the_end_gets_no_answer_from_before_it(redis: Redis, tenant: str) -> None:
    def says(word: str) -> Callable[[], AsyncGenerator[AnswerEvent, None]]:
        async def events() -> AsyncGenerator[AnswerEvent, None]:
            yield TokenEvent(word)
            yield DoneEvent(AnswerMode.GENERATED, FinishReason.STOP)

        return events

    way = SingleFlight(SlowRelay(redis))
    first = way.subscribe(f"{tenant}/q", says("one"))
    async for event in first:
        if isinstance(event, DoneEvent):
            # The others are still to be told of the end.
            second = [each async for each in way.subscribe(f"{tenant}/q", says("two"))]
    assert second[0] == TokenEvent("two")


class SlowRelay(RedisRelay):
    """A relay that takes its time to hear of a flight's end."""

    async def release(self, flight: str, lease: str) -> Lead:
        await asyncio.sleep(0.2)
        return await super().release(flight, lease)


async def test_a_leader_that_dies_is_replaced_within_its_lease(redis: Redis, tenant: str) -> None:
    ways = [SingleFlight(RedisRelay(redis, lease_seconds=0.3)) for _ in range(3)]
    alive = asyncio.Event()

    async def dies() -> AsyncGenerator[AnswerEvent, None]:
        yield StatusEvent(Stage.SEARCHING, cache=CacheVerdict.MISS)
        yield TokenEvent("You may ")
        await alive.wait()
        raise Crash

    async def lives() -> AsyncGenerator[AnswerEvent, None]:
        yield StatusEvent(Stage.SEARCHING, cache=CacheVerdict.MISS)
        yield TokenEvent("You ")
        yield TokenEvent("may go.")
        yield DoneEvent(AnswerMode.GENERATED, FinishReason.STOP)

    async def hear(single_flight: SingleFlight, start: Any) -> list[AnswerEvent]:
        return [event async for event in single_flight.subscribe(f"{tenant}/q", start)]

    dying = asyncio.create_task(hear(ways[0], dies))
    await asyncio.sleep(0.05)
    others = [asyncio.create_task(hear(way, lives)) for way in ways[1:] for _ in range(5)]
    await asyncio.sleep(0.1)
    alive.set()
    async with asyncio.timeout(10):
        heard = await asyncio.gather(*others)
    for events in heard:
        assert last_text_of(events) == "You may go."
        assert [event.text for event in events if isinstance(event, TokenEvent)] == ["You may ", "go."]
    with pytest.raises(Crash):
        await dying


async def slowly() -> AsyncGenerator[AnswerEvent, None]:
    for number in range(50):
        yield TokenEvent(f"{number} ")
        await asyncio.sleep(0.02)


async def test_what_nobody_follows_is_sent_to_nobody(redis: Redis, tenant: str) -> None:
    keys: set[Any] = set()
    async for _ in SingleFlight(RedisRelay(redis, lease_seconds=0.4)).subscribe(f"{tenant}/q", slowly):
        keys |= {*await redis.keys(tenant_key(tenant, "flight*"))}
    assert keys == {tenant_key(tenant, "flight", "q", "lease").encode()}
    assert not await redis.keys(tenant_key(tenant, "*")), "its lease is given back"


async def test_who_follows_later_hears_all_of_it_soon(redis: Redis, tenant: str) -> None:
    leader = asyncio.create_task(hear_all(SingleFlight(RedisRelay(redis, lease_seconds=60)), tenant))
    await asyncio.sleep(0.05)
    heard: list[AnswerEvent] = []
    async for event in SingleFlight(RedisRelay(redis, lease_seconds=60)).subscribe(f"{tenant}/q", never):
        assert heard or not leader.done(), "its first word comes while the leader still speaks"
        heard += [event]
    assert heard == await leader


async def hear_all(single_flight: SingleFlight, tenant: str) -> list[AnswerEvent]:
    return [event async for event in single_flight.subscribe(f"{tenant}/q", slowly)]


async def never() -> AsyncGenerator[AnswerEvent, None]:
    for _ in ():
        yield TokenEvent("somebody else leads")
    raise AssertionError


async def test_without_a_server_everybody_answers_for_himself(tenant: str) -> None:
    async def start() -> AsyncGenerator[AnswerEvent, None]:
        await asyncio.sleep(0.02)
        yield TokenEvent("so")

    async with open_redis(f"redis://127.0.0.1:{free_port()}/0") as gone:
        ways = [SingleFlight(RedisRelay(gone)), SingleFlight(None)]
        for way in ways:
            heard = [event async for event in way.subscribe(f"{tenant}/q", start)]
            assert heard == [TokenEvent("so")]


async def test_a_server_that_says_nothing_keeps_nobody_waiting(tenant: str) -> None:
    async def start() -> AsyncGenerator[AnswerEvent, None]:
        yield TokenEvent("so")

    async with silent() as url, open_redis(url) as redis, asyncio.timeout(4.5):
        assert [event async for event in SingleFlight(RedisRelay(redis)).subscribe(f"{tenant}/q", start)] == [
            TokenEvent("so")
        ]


async def test_what_is_sent_twice_is_heard_once(redis_url: str, redis: Redis, tenant: str) -> None:
    flight = f"{tenant}/q"
    faults, server = Faults(), urlsplit(redis_url)
    assert server.port is not None
    async with (
        cutting_proxy(server.port, faults) as port,
        open_redis(f"redis://127.0.0.1:{port}{server.path}") as leading,
    ):
        relay, followers = RedisRelay(leading, timeout_seconds=3.0), RedisRelay(redis)
        # The connection is made, and the server knows the script.
        await relay.lead(f"{tenant}/another")
        faults.next = ["slow", "cut_after"]
        lease = await relay.lead(flight)
        assert lease is not None, "whoever has the lease, and asks again, leads"
        assert await relay.send(flight, lease, [b"a", b"b"], sent=0)
        assert faults.next == []
        faults.next = ["slow", "cut_after"]
        assert await relay.send(flight, lease, [b"c", b"d"], sent=2)
        assert faults.next == []
        place, messages = await followers.receive(flight, "", wait_seconds=0.1)
        assert messages == [b"a", b"b", b"c", b"d"]
        await redis.delete(tenant_key(tenant, "flight", "q"))
        assert not await relay.send(flight, lease, [b"e"], sent=4), "a server lost what followers must have heard first"
        assert (await followers.receive(flight, place, wait_seconds=0.05))[1] == []


async def test_an_asker_who_looked_before_another_flight_ended_gets_its_answer(
    processes: list[AnswerDependencies], script: Script, library: Library
) -> None:
    await library.put("handbook.txt", LEAVE)
    script.reply = lambda _: REPLY
    looked, ended = asyncio.Event(), asyncio.Event()

    class Late(SingleFlight):
        async def subscribe(self, key: str, produce: Any, *, relayed: bool = True) -> AsyncGenerator[AnswerEvent, None]:
            looked.set()
            await ended.wait()
            async for event in super().subscribe(key, produce, relayed=relayed):
                yield event

    late = asyncio.create_task(ask(replace(processes[0], single_flight=Late()), library.tenant))
    await looked.wait()
    assert last_text_of(await ask(processes[1], library.tenant)) == REPLY
    ended.set()
    events = await late
    assert (last_text_of(events), getattr(events[0], "cache", "")) == (REPLY, "hit")
    assert len(script.requests) == 1


def passages(*positions: int) -> PassagesEvent:
    return PassagesEvent(tuple(Passage(Chunk("documents/a.txt", 1, position, "x"), 1.0) for position in positions))


def cites(number: int) -> CitationEvent:
    return CitationEvent(Citation(number, Chunk("documents/a.txt", 1, 0, "x"), "x", 0, 1))


SEARCHING, USAGE, DONE = (
    StatusEvent(Stage.SEARCHING),
    UsageEvent(Usage(1, 1)),
    DoneEvent(AnswerMode.GENERATED, FinishReason.STOP),
)


@pytest.mark.parametrize(
    ("said", "again", "heard"),
    [
        # Nothing of substance was said: the second leader's answer is the answer.
        ([SEARCHING], [SEARCHING, passages(0), TokenEvent("a"), DONE], [SEARCHING, passages(0), TokenEvent("a"), DONE]),
        # The same words, cut otherwise: the rest is heard.
        (
            [SEARCHING, passages(0), TokenEvent("one "), cites(1), TokenEvent("two")],
            [SEARCHING, passages(0), TokenEvent("o"), TokenEvent("ne t"), cites(1), TokenEvent("wo th"), cites(2), USAGE, DONE],
            [SEARCHING, passages(0), TokenEvent("one "), cites(1), TokenEvent("two"), TokenEvent(" th"), cites(2), USAGE, DONE],
        ),
        # Other words, fewer words, other passages: from the beginning.
        (
            [SEARCHING, TokenEvent("one ")],
            [SEARCHING, TokenEvent("o"), TokenEvent("ther"), DONE],
            [SEARCHING, TokenEvent("one "), StatusEvent(Stage.RESTARTED), SEARCHING, TokenEvent("o"), TokenEvent("ther"), DONE],
        ),
        (
            [SEARCHING, TokenEvent("one ")],
            [SEARCHING, TokenEvent("o"), USAGE, DONE],
            [SEARCHING, TokenEvent("one "), StatusEvent(Stage.RESTARTED), SEARCHING, TokenEvent("o"), USAGE, DONE],
        ),
        (
            [SEARCHING, passages(0), TokenEvent("one ")],
            [SEARCHING, passages(1), TokenEvent("one two"), DONE],
            [SEARCHING, passages(0), TokenEvent("one "), StatusEvent(Stage.RESTARTED), SEARCHING, passages(1), TokenEvent("one two"), DONE],
        ),
    ],
)  # fmt: skip
def test_a_second_leader_goes_on_where_the_first_one_stopped(
    said: list[AnswerEvent], again: list[AnswerEvent], heard: list[AnswerEvent]
) -> None:
    splice = Splice()
    found: list[AnswerEvent] = []
    for events in (said, again):
        splice.begin()
        for event in events:
            found += splice.feed(event)
    assert found == heard


@pytest.fixture(scope="module")
def own_redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of one's own: real processes ask as the default tenant."""
    with redis_server(tmp_path_factory.mktemp("flights")) as url:
        yield url


async def test_a_process_that_is_killed_leaves_no_asker_elsewhere_without_an_answer(
    own_redis_url: str,
    qdrant_url: str,
    openai_url: str,
    script: Script,
    embedder: MiniLMEmbedder,
    stack: AsyncExitStack,
    tmp_path: Path,
) -> None:
    settings = Settings(collection_prefix=f"flights-{uuid.uuid4().hex[:8]}")
    redis = await stack.enter_async_context(open_redis(own_redis_url))
    opening = open_qdrant_store(qdrant_url, api_key="", collection=collection_of(settings))
    store = await stack.enter_async_context(opening)
    await Library("default", embedder, store, RedisRegistry(redis)).put("handbook.txt", LEAVE)
    script.reply, script.token_gap_seconds = (lambda _: REPLY), 0.3
    environment = {
        "REDIS_URL": own_redis_url, "QDRANT_URL": qdrant_url, "COLLECTION_PREFIX": settings.collection_prefix,
        "OPENAI_BASE_URL": openai_url, "OPENAI_API_KEY": "k", "CHAT_MODEL": "m", "BUCKET": "none",
        "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "eu-central-1",
        "STREAMS_PER_PRINCIPAL": "100", "REQUESTS_PER_MINUTE": "1000",
    }  # fmt: skip
    servers = []
    for number in range(2):
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", "functions.chat.main:app", "--port", str(port)]
        process = await asyncio.to_thread(
            stack.enter_context,
            running([*command, "--log-level", "warning"], port, tmp_path / f"{number}.log", environment),
        )
        servers.append((process, f"http://127.0.0.1:{port}"))

    begun: list[str] = []

    async def listen(url: str, session: aiohttp.ClientSession) -> tuple[str, str]:
        text = ""
        async with session.post(f"{url}/chat", json={"question": QUESTION}) as response:
            begun.append(url)
            async for event in sse_events(response):
                if event.name == "status" and event.data["stage"] == "restarted":
                    text = ""
                text += event.data["text"] if event.name == "token" else ""
            return text, response.headers["X-Cache"]

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        (leader, first_url), (_, second_url) = servers
        lost = [asyncio.create_task(listen(first_url, session))]
        async with asyncio.timeout(20):
            while not script.open_streams:
                await asyncio.sleep(0.01)
        others = [asyncio.create_task(listen(second_url, session)) for _ in range(50)]
        async with asyncio.timeout(20):
            while begun.count(second_url) < len(others):
                await asyncio.sleep(0.01)
        assert script.open_streams, "the answer is still being made"
        os.kill(leader.pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            heard = await asyncio.gather(*others)
        await asyncio.gather(*lost, return_exceptions=True)
        assert set(heard) == {(REPLY, "shared")}
        assert len(script.requests) == 2, "the one that died, and one for all the others"
        assert (await listen(second_url, session)) == (REPLY, "hit")
