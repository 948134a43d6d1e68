"""Every answer leaves one record: from any door, through the queue and maintenance into the database, and to the admin's page."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from redis.asyncio import Redis

from functions.cache_maintenance.ledger import LedgerDependencies, keep_ledger, use_ledger
from headrace import wiring
from headrace.auth.loopback import LoopbackAuthenticator
from headrace.concurrency.on_demand import on_demand
from headrace.errors import InvalidInputError
from headrace.ledger.pricing import Pricing
from headrace.ledger.sql import open_sql_ledger
from headrace.models.openai import open_openai_model
from headrace.protocols import LedgerQueue
from headrace.redis_state.ledger_queue import KEY, RedisLedgerQueue
from headrace.settings import Settings
from headrace.types import AnswerRecord, Block, Principal, Role
from tests.support.http import served
from tests.support.library import Library
from tests.support.openai_server import Script
from tests.support.postgres import postgres
from tests.support.records import record

FACT = "The spillway of the upper dam opens at 412 metres."
QUESTION = "At what level does the spillway open?"
LATER = float("inf")


@pytest.fixture
async def queue(redis: Redis) -> RedisLedgerQueue:
    await redis.delete(KEY)
    return RedisLedgerQueue(redis)


@pytest.fixture
def kept(queue: RedisLedgerQueue, tmp_path: Path) -> LedgerDependencies:
    """The ledger's upkeep, with a database in a file."""
    opening = partial(open_sql_ledger, f"sqlite:///{tmp_path}/ledger.db", pricing=Pricing({"m": (1.0, 2.0)}))
    return LedgerDependencies(queue, opening, days=90)


@pytest.fixture
async def url(
    chat_app: Callable[..., Any], library: Library, openai_url: str, stack: AsyncExitStack, kept: LedgerDependencies
) -> str:
    """The application with a model, and a ledger."""
    model = await stack.enter_async_context(open_openai_model(api_key="k", base_url=openai_url, model="m"))
    await library.put("dam.txt", Block(FACT, page=2))
    ledger = await stack.enter_async_context(on_demand(kept.open_ledger))
    return await stack.enter_async_context(served(chat_app(model, ledger_queue=kept.queue, ledger=ledger)))


async def call(url: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
    """Status, headers and what came; a stream as its text."""
    async with aiohttp.ClientSession() as session:
        method = "GET" if body is None else "POST"
        async with session.request(method, f"{url}{path}", json=body, headers=headers) as response:
            text = await response.text()
            is_json = "json" in response.headers["content-type"]
            return response.status, response.headers, json.loads(text) if is_json else text


async def newest(queue: LedgerQueue) -> AnswerRecord:
    """The record that was put last; it comes a moment after its answer."""
    for _ in range(200):
        records = [entry for _, entry in await queue.take(100) if isinstance(entry, AnswerRecord)]
        if records:
            return records[-1]
        await asyncio.sleep(0.01)
    raise AssertionError("no record came")


async def test_a_streamed_answer_s_record_says_all_of_it(
    url: str, queue: RedisLedgerQueue, script: Script, tenant: str
) -> None:
    script.reply = lambda _prompt: "It opens at 412 metres [1]."
    began = time.time()
    status, headers, _ = await call(url, "/chat", {"question": QUESTION})
    assert status == 200
    found = await newest(queue)
    assert found.id == headers["X-Request-Id"] == headers["X-Run-Id"]
    assert (found.tenant, found.question, found.answer) == (tenant, QUESTION, "It opens at 412 metres [1].")
    assert (found.mode, found.verdict, found.finish, found.error, found.model) == ("generated", "miss", "stop", "", "m")
    assert began - 0.1 <= found.at <= time.time()
    assert 0 < (found.first_token_seconds or 0) <= found.seconds
    assert found.prompt_tokens > 0
    assert found.tokens_spent == found.prompt_tokens + found.completion_tokens
    (passage,) = found.passages
    assert passage.document == f"documents/{tenant}/dam.txt"
    assert passage.is_cited
    assert passage.similarity > 0.3
    assert [each.quote for each in found.citations] == [FACT]
    assert found.answer_id
    assert found.conversation_id


async def test_other_doors_leave_records_too_and_their_clients_learn_the_id(url: str, queue: RedisLedgerQueue) -> None:
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
    answer = await client.chat.completions.create(model="headrace", messages=[{"role": "user", "content": QUESTION}])
    assert (await newest(queue)).id == answer._request_id
    await queue.remove([name for name, _ in await queue.take(9)])
    stream = await client.chat.completions.create(
        model="headrace", messages=[{"role": "user", "content": QUESTION}], stream=True
    )
    async for _ in stream:
        pass
    found = await newest(queue)
    assert (found.verdict, found.tokens_spent) == ("hit", 0)
    await client.close()


@pytest.mark.parametrize("body", [{"question": QUESTION}, {"question": "What colour is the mayor's bicycle?"}])
async def test_faults_and_refusals_are_records(
    url: str, queue: RedisLedgerQueue, script: Script, body: dict[str, str]
) -> None:
    is_refused = "bicycle" in body["question"]
    script.refusal, script.refusal_status = "" if is_refused else "no such key", 401
    status, headers, _ = await call(url, "/chat", body, accept="application/json")
    found = await newest(queue)
    assert found.id == headers["X-Request-Id"]
    if is_refused:
        assert (status, found.mode, found.error) == (200, "refused", "")
        assert found.question == body["question"]
    else:
        assert status >= 500
        assert found.error == "configuration_error"
        assert found.answer == ""


async def test_who_leaves_is_a_record_too(url: str, queue: RedisLedgerQueue, script: Script) -> None:
    script.reply, script.token_gap_seconds = lambda _prompt: "word " * 200, 0.02
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/v1/chat/completions", json={
            "model": "headrace", "stream": True, "messages": [{"role": "user", "content": QUESTION}]}) as response:  # fmt: skip
            await response.content.readline()
    found = await newest(queue)
    assert found.error == "abandoned"
    assert found.tokens_spent > 0


async def test_maintenance_writes_and_admins_see(
    url: str, kept: LedgerDependencies, script: Script, tenant: str
) -> None:
    status, _, body = await call(url, "/admin/usage")
    assert (status, body["days"]) == (200, []), "who asks first makes the tables"
    script.reply = lambda _prompt: "It opens at 412 metres [1]."
    _, headers, _ = await call(url, "/chat", {"question": QUESTION})
    await call(url, "/chat", {"question": "What colour is the mayor's bicycle?"})
    said = {"request_id": headers["X-Request-Id"], "rating": "down", "comment": "413, says the gauge"}
    assert (await call(url, "/feedback", said))[2] == {"request_id": headers["X-Request-Id"], "kept": True}
    await newest(kept.queue)
    report = await keep_ledger(kept, deadline=LATER)
    assert report == {"written": 3, "deleted": 0, "waiting": 0}
    await call(url, "/chat", {"question": "What colour is the mayor's bicycle?"})
    await newest(kept.queue)

    # With what has come since.
    _, _, usage = await call(url, "/admin/usage")
    (day,) = usage["days"]
    assert (day["answers"], day["refused"], day["disliked"], day["unpriced"]) == (3, 2, 1, 0)
    assert day["dollars"] > 0
    assert usage["first_token_seconds"]["p95"] > 0
    _, _, asked = await call(url, "/admin/unanswered")
    assert [each["question"] for each in asked["questions"]] == ["What colour is the mayor's bicycle?"]
    _, _, listed = await call(url, "/admin/answers?kind=down")
    assert [(each["id"], each["feedback"]["comment"]) for each in listed["answers"]] == [
        (headers["X-Request-Id"], "413, says the gauge")
    ]
    _, _, whole = await call(url, f"/admin/answers/{headers['X-Request-Id']}")
    assert whole["passages"][0]["document"] == f"documents/{tenant}/dam.txt"
    assert whole["answer"] == "It opens at 412 metres [1]."
    assert (await call(url, "/admin/answers/0123456789abcdef"))[0] == 404
    assert (await call(url, "/admin/answers?after=x"))[0] == 400
    assert (await call(url, "/admin/answers?kind=odd"))[0] == 400


@pytest.mark.parametrize("path", ["/admin/usage", "/admin/unanswered", "/admin/answers", f"/admin/answers/{'0' * 16}"])
async def test_only_admins_see_and_only_where_a_ledger_is_kept(
    chat_app: Callable[..., Any], library: Library, stack: AsyncExitStack, tenant: str, path: str
) -> None:
    reader = LoopbackAuthenticator(Principal(tenant, role=Role.WRITER))
    url = await stack.enter_async_context(served(chat_app(authenticator=reader)))
    assert (await call(url, path))[0] == 403
    url = await stack.enter_async_context(served(chat_app()))
    status, _, body = await call(url, path)
    assert status == 404
    assert "LEDGER_URL" in body["error"]["message"]


@pytest.mark.parametrize(
    "body", [{}, {"request_id": "0" * 16}, {"rating": "up"}, {"request_id": "0" * 16, "rating": "fine"}]
)
async def test_feedback_that_says_nothing_is_refused(url: str, body: dict[str, str]) -> None:
    assert (await call(url, "/feedback", body))[0] == 400


async def test_a_database_that_is_away_loses_nothing(queue: RedisLedgerQueue, tenant: str) -> None:
    def start() -> Any:
        return stack.enter_context(postgres())

    from contextlib import ExitStack

    with ExitStack() as stack:
        server = await asyncio.to_thread(start)
        kept = LedgerDependencies(queue, lambda: open_sql_ledger(server.url, pricing=Pricing()), days=10_000)
        await keep_ledger(kept, deadline=LATER)
        written = 0
        for number in range(40):
            await queue.put(record(tenant, number))
            if number == 10:
                await asyncio.to_thread(server.stop)
            if number == 30:
                await asyncio.to_thread(server.start)
            if number % 3 == 0:
                report = await keep_ledger(kept, deadline=LATER)
                written += report["written"]
                assert ("fault" in report) == (10 <= number < 30), report
        await keep_ledger(kept, deadline=LATER)
        async with kept.open_ledger() as ledger:
            (day,) = await ledger.usage(0.0, tenant=tenant)
        assert day.answers == 40
        assert await queue.waiting() == 0
        await asyncio.to_thread(server.stop)


async def test_what_was_written_and_not_removed_is_there_once(kept: LedgerDependencies, tenant: str) -> None:
    class Forgetful(RedisLedgerQueue):
        async def remove(self, names: Any) -> None:
            raise KeyboardInterrupt

    assert isinstance(kept.queue, RedisLedgerQueue)
    await kept.queue.put(record(tenant, 1))
    dying = LedgerDependencies(Forgetful(kept.queue._client), kept.open_ledger, days=10_000)
    with pytest.raises(KeyboardInterrupt):
        await keep_ledger(dying, deadline=LATER)
    living = LedgerDependencies(kept.queue, kept.open_ledger, days=10_000)
    assert (await keep_ledger(living, deadline=LATER))["waiting"] == 0
    async with kept.open_ledger() as ledger:
        (day,) = await ledger.usage(0.0, tenant=tenant)
    assert day.answers == 1


async def test_a_person_s_records_are_deleted_those_that_wait_too(kept: LedgerDependencies, tenant: str) -> None:
    forever = LedgerDependencies(kept.queue, kept.open_ledger, days=10_000)
    for number, name in enumerate(("ann", "bob", "ann")):
        await kept.queue.put(record(tenant, number, principal=name))
    asked = {"action": "forget", "tenant": tenant, "principal": "ann"}
    assert await use_ledger(asked, forever, deadline=LATER) == {"forgotten": 2}
    told = await use_ledger({"action": "usage", "days": 10_000}, forever, deadline=LATER)
    assert [day["answers"] for day in told["usage"]] == [1]
    with pytest.raises(InvalidInputError, match="whose records"):
        await use_ledger({"action": "forget", "tenant": tenant}, forever, deadline=LATER)


async def test_what_is_older_than_ledger_days_goes(kept: LedgerDependencies, tenant: str) -> None:
    await kept.queue.put(record(tenant, 1, at=time.time() - 91 * 86_400))
    await kept.queue.put(record(tenant, 2, at=time.time() - 89 * 86_400))
    assert (await keep_ledger(kept, deadline=LATER))["deleted"] == 1


async def test_a_record_that_can_t_be_read_holds_up_none(kept: LedgerDependencies, redis: Redis, tenant: str) -> None:
    await redis.xadd(KEY, {"entry": b'{"kind": "of another version"}'})
    await kept.queue.put(record(tenant, 1, at=time.time()))
    assert (await keep_ledger(kept, deadline=LATER)) == {"written": 1, "deleted": 0, "waiting": 0}


async def test_a_redis_that_is_away_costs_a_record_and_no_answer(tenant: str, stack: AsyncExitStack) -> None:
    from headrace.clients.redis import open_redis
    from infra.local.processes import free_port

    client = await stack.enter_async_context(open_redis(f"redis://127.0.0.1:{free_port()}/0"))
    await RedisLedgerQueue(client).put(record(tenant, 1))


async def test_words_can_be_kept_out_of_it(
    redis: Redis, queue: RedisLedgerQueue, tenant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = wiring.ledger_queue_on(redis, Settings(ledger_url="sqlite:///x.db", ledger_content="none"))
    assert silent is not None
    await silent.put(record(tenant, 1))
    found = await newest(queue)
    assert (found.question, found.answer, found.citations) == ("", "", ())
    assert found.tokens_spent == 1100
    logged = wiring.ledger_queue_on(redis, Settings(ledger="logs"))
    assert logged is not None
    await logged.put(record(tenant, 1))
    line = json.loads(capsys.readouterr().out)
    assert line["ledger"]["question"] == "Wann öffnet das Wehr? 🌊"
    assert wiring.ledger_queue_on(redis, Settings()) is None


async def test_a_ledger_that_can_t_be_kept_holds_up_no_other_maintenance(
    redis: Redis, queue: RedisLedgerQueue, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, aws_url: str
) -> None:
    from functions.cache_maintenance.main import handle, open_with

    access = {
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_ENDPOINT_URL": aws_url,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in access.items():
        monkeypatch.setenv(name, value)
    host = redis.connection_pool.connection_kwargs
    url = f"redis://{host['host']}:{host['port']}/0"
    import boto3

    await asyncio.to_thread(lambda: boto3.client("s3").create_bucket(Bucket="ledger-documents"))
    settings = Settings(
        redis_url=url,
        bucket="ledger-documents",
        ledger_url=f"sqlite:///{tmp_path}/a.db",
        model_prices="nonsense",
        aws_endpoint_url=aws_url,
    )
    await queue.put(record("t", 1))
    async with open_with(settings) as deps:
        told = await handle({}, deps, deadline=LATER)
    assert "MODEL_PRICES" in told["ledger"]["fault"]
    assert "swept" in told
    assert await queue.waiting() == 1
