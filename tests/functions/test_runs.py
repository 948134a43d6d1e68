"""A run outlives its reader: it is followed from any event on, in whatever process it is made, and stopped from anywhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from headrace.clients.redis import open_redis
from headrace.concurrency.stop import Stop
from headrace.errors import RegistryUnavailableError, RunLostError, UnknownRunError
from headrace.models.openai import OpenAIModel, open_openai_model
from headrace.rate_limits import RateLimits
from headrace.redis_state.conversations import RedisConversations
from headrace.redis_state.layout import run_keys, use_key
from headrace.redis_state.limits import RedisRateLimiter
from headrace.redis_state.run_log import RedisRunLog
from headrace.runs.run import Run
from headrace.runs.runs import Runs
from headrace.types import (
    AnswerEvent,
    AnswerMode,
    DoneEvent,
    FinishReason,
    Principal,
    Role,
    RunName,
    TokenEvent,
    encode_event,
)
from infra.local.processes import free_port
from tests.lambda_runtime.conftest import serving
from tests.support.http import SseEvent, served, sse_events
from tests.support.library import Library
from tests.support.openai_server import Script
from tests.support.runtime_api import url_event

LEAVE = "Parents may take 26 weeks of parental leave."
REPLY = "You may take 26 weeks of leave as a parent [1], and that is all that there is to say of it."
QUESTION = "How many weeks of parental leave are there?"


@pytest.fixture
async def model(openai_url: str, stack: AsyncExitStack) -> OpenAIModel:
    return await stack.enter_async_context(open_openai_model(api_key="k", base_url=openai_url, model="m"))


@pytest.fixture
def start(
    chat_app: Callable[..., Any], model: OpenAIModel, library: Library, script: Script, stack: AsyncExitStack
) -> Callable[..., Any]:
    """Starts a process on the test's Redis; the documents are there, and the model writes slowly."""

    async def start_one(**options: Any) -> str:
        script.reply, script.token_gap_seconds = (lambda _: REPLY), 0.02
        if not await library.registry.documents(library.tenant):
            await library.put("handbook.txt", LEAVE)
        app = chat_app(model, **{"grace_seconds": 10.0, **options})
        return await stack.enter_async_context(served(app))

    return start_one


@asynccontextmanager
async def asking(url: str, question: str = QUESTION, **more: Any) -> AsyncIterator[aiohttp.ClientResponse]:
    """A question's stream, which ends with the block."""
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/chat", json={"question": question, **more}) as response:
            assert response.status == 200, await response.text()
            yield response


async def cut_after(url: str, count: int, question: str = QUESTION) -> tuple[str, list[SseEvent]]:
    """The run's id and its first events; then the connection is cut."""
    events: list[SseEvent] = []
    async with asking(url, question) as response:
        async for event in sse_events(response):
            events.append(event)
            if len(events) == count:
                break
        response.close()
        return response.headers["X-Run-Id"], events


async def resumed(url: str, run_id: str, last: str = "", *, by_asking: bool = False) -> list[SseEvent]:
    """The events behind the one of this id."""
    headers = {"Last-Event-ID": last} if last else {}
    async with aiohttp.ClientSession() as session:
        if by_asking:
            reading = session.post(f"{url}/chat", json={"question": QUESTION}, headers=headers)
        else:
            reading = session.get(f"{url}/runs/{run_id}", headers=headers)
        async with reading as response:
            assert response.status == 200, await response.text()
            assert response.headers["X-Run-Id"] == run_id
            return [event async for event in sse_events(response)]


async def stop(url: str, run_id: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/runs/{run_id}/stop") as response:
        body: dict[str, Any] = await response.json()
        return {"status": response.status, **body}


async def until_closed(script: Script, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while script.open_streams:
            await asyncio.sleep(0.005)


async def test_cut_at_every_event_the_transcript_is_the_same_and_the_model_is_asked_once(
    start: Callable[..., Any], script: Script
) -> None:
    here, elsewhere = await start(), await start()
    script.token_gap_seconds = 0.005
    async with asking(here, "How many weeks are there?") as response:
        whole = [event async for event in sse_events(response)]
    assert [event.id.partition(".")[2] for event in whole] == [str(n) for n in range(1, len(whole) + 1)]

    async def check(count: int, url: str, by_asking: bool) -> None:
        question = f"How many weeks are there in case number {count}{'abc'[by_asking + 2 * (url == elsewhere)]}?"
        run_id, first = await cut_after(here, count, question)
        rest = await resumed(url, run_id, first[-1].id, by_asking=by_asking)
        again = await resumed(url, run_id)
        assert [event.id for event in [*first, *rest]] == [f"{run_id}.{n}" for n in range(1, len(whole) + 1)]
        assert [*first, *rest] == again
        texts = ["".join(e.data["text"] for e in events if e.name == "token") for events in (whole, again)]
        assert texts[0] == texts[1] == REPLY
        assert again[-1].name == "done"

    for url, by_asking in ((here, False), (here, True), (elsewhere, False)):
        before = len(script.answers())
        counts = range(1, len(whole) + 1)
        await asyncio.gather(*(check(count, url, by_asking) for count in counts))
        assert len(script.answers()) - before == len(counts), "once for each question"


async def test_an_answer_from_the_cache_is_resumed_where_it_was_given(start: Callable[..., Any]) -> None:
    here, elsewhere = await start(), await start()
    async with asking(here) as response:
        await response.read()
    run_id, first = await cut_after(here, 4)
    assert first[0].data["stage"] == "cached"
    rest = await resumed(here, run_id, first[-1].id)
    assert rest[-1].data["cached"]
    assert (await stop(elsewhere, run_id))["status"] == 404


@pytest.mark.parametrize("place", ["here", "elsewhere"])
async def test_a_stop_lets_one_more_word_through_at_most_and_the_conversation_keeps_what_was_said(
    start: Callable[..., Any], script: Script, place: str, redis: Redis, tenant: str
) -> None:
    here, elsewhere = await start(), await start()
    script.reply, script.token_gap_seconds = (lambda _: "word " * 300), 0.03
    events: list[SseEvent] = []
    heard_at_stop = 0
    async with asking(here) as response:
        async for event in sse_events(response):
            events.append(event)
            if sum(e.name == "token" for e in events) == 5 and not heard_at_stop:
                said = await stop(here if place == "here" else elsewhere, response.headers["X-Run-Id"])
                assert said == {"status": 200, "run_id": response.headers["X-Run-Id"], "stopped": True}
                # What is on its way to us when the stop is answered was said before it.
                heard_at_stop = len(script.answers())
                await until_closed(script)
    tokens = [event.data["text"] for event in events if event.name == "token"]
    assert len(tokens) < 150
    done = events[-1].data
    assert (events[-1].name, done["finish_reason"], done["answer_id"]) == ("done", "stopped", None)
    turns = await RedisConversations(redis, ttl_seconds=60).history(
        Principal(tenant, role=Role.ADMIN), done["conversation_id"]
    )
    assert turns[-1].content == "".join(tokens)
    assert (await stop(here, response.headers["X-Run-Id"]))["stopped"] is False, "it is over"
    async with asking(here) as response:
        assert response.headers["X-Cache"] == "miss", "half an answer is not kept"


async def test_after_the_answer_to_a_stop_no_more_is_said(start: Callable[..., Any], script: Script) -> None:
    here, elsewhere = await start(), await start()
    script.reply, script.token_gap_seconds = (lambda _: "word " * 300), 0.03
    heard = 0
    async with asking(here) as response:

        async def listen() -> None:
            nonlocal heard
            async for event in sse_events(response):
                heard += event.name == "token"

        listening = asyncio.create_task(listen())
        while heard < 3:
            await asyncio.sleep(0.005)
        assert (await stop(elsewhere, response.headers["X-Run-Id"]))["stopped"]
        at_stop = heard
        await listening
    assert heard <= at_stop + 1


async def test_ninety_nine_of_a_hundred_readers_stop_and_the_last_hears_all(
    start: Callable[..., Any], script: Script
) -> None:
    url = await start()
    script.token_gap_seconds = 0.1
    ids: asyncio.Queue[str] = asyncio.Queue()

    async def listen() -> list[SseEvent]:
        async with asking(url) as response:
            await ids.put(response.headers["X-Run-Id"])
            return [event async for event in sse_events(response)]

    listening = [asyncio.create_task(listen()) for _ in range(100)]
    run_ids = [await ids.get() for _ in listening]
    stopped = await asyncio.gather(*(stop(url, run_id) for run_id in run_ids[:99]))
    assert all(each["stopped"] for each in stopped)
    assert script.open_streams == 1, "somebody still listens"
    heard = await asyncio.gather(*listening)
    ends = [(events[-1].data["finish_reason"], events[-1].id.partition(".")[0]) for events in heard]
    assert sorted(run_id for reason, run_id in ends if reason == "stopped") == sorted(run_ids[:99])
    (whole,) = [events for events in heard if events[-1].data["finish_reason"] == "stop"]
    assert "".join(event.data["text"] for event in whole if event.name == "token") == REPLY
    assert len(script.answers()) == 1


async def test_the_last_reader_of_a_shared_answer_who_stops_stops_the_model(
    start: Callable[..., Any], script: Script
) -> None:
    url = await start()
    script.reply = lambda _: "word " * 500
    async with asking(url) as first, asking(url) as second:
        for response in (first, second):
            assert script.open_streams == 1
            assert (await stop(url, response.headers["X-Run-Id"]))["stopped"]
        await until_closed(script)
    assert len(script.answers()) == 1


async def test_a_run_whose_reader_has_left_goes_on_for_a_while_and_the_conversation_knows_it(
    start: Callable[..., Any], script: Script, redis: Redis, tenant: str
) -> None:
    url = await start(grace_seconds=10.0)
    await cut_after(url, 3)
    await until_closed(script, 5)
    async with asyncio.timeout(10):
        while not (found := await RedisConversations(redis, ttl_seconds=60).all(Principal(tenant))):
            await asyncio.sleep(0.01)
    turns = await RedisConversations(redis, ttl_seconds=60).history(Principal(tenant), found[0].id)
    assert [turn.content for turn in turns] == [QUESTION, REPLY]


async def test_a_run_that_nobody_comes_back_to_is_stopped(start: Callable[..., Any], script: Script) -> None:
    url = await start(grace_seconds=0.3)
    script.reply = lambda _: "word " * 500
    run_id, first = await cut_after(url, 5)
    assert script.open_streams == 1
    await asyncio.sleep(0.15)
    following = asyncio.create_task(resumed(url, run_id, first[-1].id))
    await asyncio.sleep(0.4)
    assert script.open_streams == 1, "somebody has come back"
    following.cancel()
    await asyncio.wait({following})
    await until_closed(script)
    assert (await resumed(url, run_id))[-1].data["finish_reason"] == "stopped"


async def test_who_leaves_before_anything_was_said_stops_the_model_at_once(
    start: Callable[..., Any], script: Script
) -> None:
    url = await start(grace_seconds=60.0)
    script.first_token_seconds = 60.0

    async def ask() -> None:
        async with asking(url):
            pass

    leaving = asyncio.create_task(ask())
    while not script.open_streams:
        await asyncio.sleep(0.01)
    leaving.cancel()
    await until_closed(script)


async def test_a_run_is_its_askers_alone(start: Callable[..., Any], tenant: str, script: Script) -> None:
    script.token_gap_seconds = 0.05
    url = await start(principal=Principal(tenant, id="anna"))
    others = [await start(principal=Principal(tenant, id="ben")), await start(principal=Principal("other", id="anna"))]
    async with asking(url) as response:
        run_id = response.headers["X-Run-Id"]
        for other in others:
            assert (await stop(other, run_id))["status"] == 404
            async with aiohttp.ClientSession() as session, session.get(f"{other}/runs/{run_id}") as refused:
                assert refused.status == 404
                assert (await refused.json())["error"]["code"] == "run_not_found"
        assert (await stop(url, run_id))["stopped"]


async def test_what_is_no_run_is_said_to_be_none(start: Callable[..., Any]) -> None:
    url = await start()
    gone = "0123456789abcdef"
    async with aiohttp.ClientSession() as session:
        for path, headers, status in (
            (f"runs/{gone}", {}, 404),
            (f"runs/{gone}", {"Last-Event-ID": f"{gone}.x"}, 400),
            (f"runs/{gone}", {"Last-Event-ID": "fedcba9876543210.1"}, 400),
            ("runs/nonsense", {}, 400),
        ):
            async with session.get(f"{url}/{path}", headers=headers) as response:
                assert (response.status, path) == (status, path)
        for last, status in ((f"{gone}.3", 404), ("nonsense", 400)):
            headers, body = {"Last-Event-ID": last}, {"question": QUESTION}
            async with session.post(f"{url}/chat", json=body, headers=headers) as response:
                assert response.status == status
    assert (await stop(url, gone))["status"] == 404


async def test_a_run_keeps_its_askers_place_and_its_tokens_count(
    start: Callable[..., Any], script: Script, redis: Redis, library: Library
) -> None:
    limiter = RedisRateLimiter(redis, RateLimits(1000, 1))
    url = await start(limiter=limiter, grace_seconds=0.5)
    script.reply = lambda _: "word " * 1000
    await cut_after(url, 5)
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/chat", json={"question": "Another?"}) as response:
            assert response.status == 429, "its asker is gone, and it still goes on"
        await until_closed(script)
        async with asyncio.timeout(10):
            while True:
                async with session.post(f"{url}/chat", json={"question": "Another one?"}) as response:
                    if response.status == 200:
                        break
                await asyncio.sleep(0.02)
    used = await redis.hget(use_key(library.tenant, Principal().id), "tokens")
    assert int(used or 0) > 0, "what was stopped has cost something"


async def test_a_run_whose_process_died_is_said_to_be_lost(
    start: Callable[..., Any], redis: Redis, tenant: str
) -> None:
    url = await start()
    log = RedisRunLog(redis, lease_seconds=0.2)
    asker = Principal(tenant, role=Role.ADMIN)

    async def dies(stop: Stop) -> AsyncGenerator[AnswerEvent, None]:
        yield TokenEvent("half ")
        await asyncio.sleep(60)

    runs = Runs(log)
    run = runs.begin(asker, dies, observe=lambda _: None, deadline_seconds=60)
    await asyncio.sleep(0.1)
    await runs.aclose()
    events = await resumed(url, run.id)
    assert [event.name for event in events] == ["token", "error"]
    assert events[-1].data["code"] == "run_lost"


async def test_a_fault_is_told_to_readers_elsewhere_too(start: Callable[..., Any], script: Script) -> None:
    here, elsewhere = await start(deadline_seconds=3.0), await start()
    script.token_gap_seconds = 0.3
    run_id, first = await cut_after(here, 5)
    rest = await resumed(elsewhere, run_id, first[-1].id)
    assert (rest[-1].name, rest[-1].data["code"]) == ("error", "deadline_exceeded")


async def test_without_redis_a_run_is_resumed_in_its_own_process(tenant: str) -> None:
    asker = Principal(tenant)

    async def make(stop: Stop) -> AsyncGenerator[AnswerEvent, None]:
        for number in range(5):
            yield TokenEvent(f"{number}")
            await asyncio.sleep(0.01)
        yield DoneEvent(AnswerMode.GENERATED, FinishReason.STOP)

    async with open_redis(f"redis://127.0.0.1:{free_port()}/0") as gone:
        for log in (None, RedisRunLog(gone)):
            runs = Runs(log)
            run = runs.begin(asker, make, observe=lambda _: None, deadline_seconds=5)
            found = await runs.find(asker, run.id)
            assert [number async for number, _ in found.events(2)] == [3, 4, 5, 6]
            await run.settled()
            await runs.aclose()
    with pytest.raises(UnknownRunError):
        await Runs().find(asker, run.id)


async def test_many_open_runs_are_little_work(tenant: str, redis: Redis) -> None:
    """Five hundred at once, each with a reader and a log: every reader hears its own, in order."""
    runs, asker = Runs(RedisRunLog(redis)), Principal(tenant)

    def make(name: int) -> Callable[[Stop], AsyncGenerator[AnswerEvent, None]]:
        async def events(stop: Stop) -> AsyncGenerator[AnswerEvent, None]:
            for number in range(5):
                yield TokenEvent(f"{name}.{number} ")
                await asyncio.sleep(0.2)
            yield DoneEvent(AnswerMode.GENERATED, FinishReason.STOP)

        return events

    async def read(name: int) -> tuple[Run, str]:
        run = runs.begin(asker, make(name), observe=lambda _: None, deadline_seconds=30)
        text = "".join([e.text async for _, e in run.events() if isinstance(e, TokenEvent)])
        return run, text

    heard = await asyncio.gather(*(read(name) for name in range(500)))
    assert [text for _, text in heard] == ["".join(f"{name}.{number} " for number in range(5)) for name in range(500)]
    # One after the other: five hundred connections opened at once would measure the machine.
    for run, _ in heard:
        await run.settled()
        assert await RedisRunLog(redis).read(run.name, 5) == [
            encode_event(DoneEvent(AnswerMode.GENERATED, FinishReason.STOP))
        ]


async def test_who_has_no_place_left_can_stop_and_resume_all_the_same(
    start: Callable[..., Any], script: Script, redis: Redis
) -> None:
    url = await start(limiter=RedisRateLimiter(redis, RateLimits(1000, 1)))
    script.token_gap_seconds = 0.05
    run_id, first = await cut_after(url, 4)
    assert (await resumed(url, run_id, first[-1].id))[-1].name == "done"
    # Its place is given back when it is over, which is a moment after its last event.
    for _ in range(100):
        with suppress(AssertionError):
            async with asking(url, "How many weeks are there for fathers?") as response:
                assert (await stop(url, response.headers["X-Run-Id"]))["stopped"]
                return
        await asyncio.sleep(0.02)
    raise AssertionError("the place is never given back")


async def test_other_groups_do_not_see_what_was_asked_with_these(start: Callable[..., Any], tenant: str) -> None:
    within = await start(principal=Principal(tenant, frozenset({"hr"}), id="anna"))
    without = await start(principal=Principal(tenant, id="anna"))
    run_id, _ = await cut_after(within, 4)
    assert (await stop(without, run_id))["status"] == 404
    assert await resumed(within, run_id)


async def test_a_log_that_failed_for_a_while_is_whole_again(tenant: str, redis: Redis) -> None:
    asker, log = Principal(tenant), RedisRunLog(redis)
    failures = 2

    class Fails(RedisRunLog):
        async def append(self, *args: Any, **more: Any) -> bool:
            nonlocal failures
            if failures:
                failures -= 1
                raise RegistryUnavailableError("The log does not answer.")
            return await super().append(*args, **more)

    async def make(stop: Stop) -> AsyncGenerator[AnswerEvent, None]:
        for number in range(30):
            yield TokenEvent(f"{number}")
            await asyncio.sleep(0.05)
        yield DoneEvent(AnswerMode.GENERATED, FinishReason.STOP)

    here = Runs(Fails(redis))
    run = here.begin(asker, make, observe=lambda _: None, deadline_seconds=10)
    await asyncio.sleep(1.0)
    # What a server lost that came back without its memory is there again, too.
    await redis.delete(*run_keys(run.name))
    await asyncio.sleep(1.0)
    elsewhere = await Runs(log).find(asker, run.id)
    assert [number async for number, _ in elsewhere.events()] == list(range(1, 32))
    assert await elsewhere.stop() is False
    await here.aclose()


async def test_a_run_whose_maker_does_not_hear_of_a_stop_is_not_said_to_be_stopped(tenant: str, redis: Redis) -> None:
    asker, log = Principal(tenant), RedisRunLog(redis, lease_seconds=0.3)
    name = RunName.of(asker, "0123456789abcdef")
    await log.append(name, [encode_event(TokenEvent("half"))], after=0, ends=False)
    run = await Runs(log).find(asker, name.id)
    for _ in range(2):
        with pytest.raises(RunLostError):
            await run.stop()


async def test_what_is_over_for_long_is_forgotten_here_too(tenant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def make(stop: Stop) -> AsyncGenerator[AnswerEvent, None]:
        yield DoneEvent(AnswerMode.GENERATED, FinishReason.STOP)

    runs, asker = Runs(), Principal(tenant)
    run = runs.begin(asker, make, observe=lambda _: None, deadline_seconds=5)
    await run.settled()
    assert await runs.find(asker, run.id) is run
    monkeypatch.setattr("headrace.runs.runs.KEPT_SECONDS", 0.0)
    await asyncio.sleep(0.01)
    with pytest.raises(UnknownRunError):
        await runs.find(asker, run.id)


async def test_a_run_ends_before_its_lambda_environment_is_asked_for_more(
    chat_app: Callable[..., Any], model: OpenAIModel, library: Library, script: Script
) -> None:
    await library.put("handbook.txt", LEAVE)
    script.reply, script.token_gap_seconds = (lambda _: "word " * 1000), 0.05
    asked = url_event("POST", "/chat", body=json.dumps({"question": QUESTION}).encode(), headers={"host": "localhost"})
    asked["requestContext"]["http"]["sourceIp"] = "127.0.0.1"
    async with serving(chat_app(model, deadline_seconds=1.0)) as api:
        outcome = await api.run({**asked, "headers": {"host": "localhost", "content-type": "application/json"}})
        assert b"deadline_exceeded" in b"".join(outcome.body_chunks)
        # The next request is asked for when the run is over.
        polls = api.polls
        async with asyncio.timeout(5):
            while api.polls == polls:
                await asyncio.sleep(0.001)
        assert script.open_streams == 0
