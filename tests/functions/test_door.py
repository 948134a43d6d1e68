"""The door: who comes in, what they may do, how much, and what every response says to browsers."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from functions.chat.load import Load
from functions.chat.metrics import AnswerMetrics, report_to_cloudwatch
from functions.chat.visit import Visit
from functions.chat.wire import paths
from headrace.auth.api_keys import ApiKeyAuthenticator, new_key
from headrace.errors import AbandonedError, InvalidInputError, ModelUnavailableError, OverloadedError
from headrace.ledger.pricing import Pricing
from headrace.models.openai import OpenAIModel, open_openai_model
from headrace.rate_limits import RateLimits
from headrace.redis_state.api_keys import RedisApiKeys
from headrace.redis_state.limits import RedisRateLimiter
from headrace.types import CacheVerdict, Limits, Principal, Role
from tests.support.http import served, sse_events
from tests.support.library import Library
from tests.support.openai_server import Script

LEAVE = "Parental leave is sixteen weeks for every parent. Tell the office three months before."
QUESTION = "How long is parental leave?"


@pytest.fixture
async def model(openai_url: str, stack: AsyncExitStack) -> OpenAIModel:
    return await stack.enter_async_context(open_openai_model(api_key="k", base_url=openai_url, model="m"))


@pytest.fixture
def key_of(redis: Redis, tenant: str) -> Callable[..., Any]:
    """Makes a principal of the test's tenant with an API key."""

    async def make(name: str, role: Role = Role.READER, groups: frozenset[str] = frozenset(), **limits: int) -> str:
        key, record = new_key(Principal(tenant, groups, name, role, Limits(**limits)))
        await RedisApiKeys(redis).save(record)
        return key

    return make


@pytest.fixture
def locked(chat_app: Callable[..., Any], redis: Redis) -> Callable[..., Any]:
    """The chat application behind API keys."""

    def make(model: OpenAIModel | None = None, **parts: Any) -> Any:
        return chat_app(model, authenticator=ApiKeyAuthenticator(RedisApiKeys(redis)), **parts)

    return make


async def call(url: str, path: str, *, key: str = "", body: Any = None, **headers: str) -> tuple[int, Any, Any]:
    """A response's status, JSON value and headers."""
    sent = {"accept": "application/json", **headers, **({"authorization": f"Bearer {key}"} if key else {})}
    method = "GET" if body is None else "POST"
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    sent |= {} if body is None else {"content-type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url + path, data=content and io.BytesIO(content), headers=sent) as response,
    ):
        text = await response.read()
        is_json = response.content_type == "application/json"
        return response.status, json.loads(text) if is_json else text, response.headers


async def test_strangers_see_the_page_and_that_it_is_alive_and_nothing_else(locked: Callable[..., Any]) -> None:
    async with served(locked()) as url:
        for path in sorted(paths.OPEN_PATHS):
            assert (await call(url, path))[0] == 200, path
        for path, body in (
            ("/documents", None), ("/documents/a.txt", None), ("/documents", {"name": "a.txt"}), ("/readyz", None),
            ("/chat", {"question": QUESTION}), ("/v1/models", None), ("/v1/models/headrace", None), ("/cache/stats", None),
            ("/v1/chat/completions", {}), ("/feedback", {}), ("/openapi.json", None), ("/nowhere", None), ("/healthz", {}),
            ("//", None), ("/healthz/", None), ("/page.js/../documents", None), ("/%2e/documents", None), ("/", {}),
        ):  # fmt: skip
            status, said, headers = await call(url, path, body=body)
            assert status == 401, path
            assert said["error"]["code"] == "unauthenticated"
            assert headers["WWW-Authenticate"] == "Bearer"


async def test_roles_say_what_may_be_done(locked: Callable[..., Any], key_of: Callable[..., Any]) -> None:
    keys = {role: await key_of(f"a {role}", role) for role in Role}
    upload = ("/documents", {"name": "a.txt"})
    expected = {
        Role.READER: {"/documents": 200, "/cache/stats": 403, "upload": 403},
        Role.WRITER: {"/documents": 200, "/cache/stats": 403, "upload": 503},
        Role.ADMIN: {"/documents": 200, "/cache/stats": 200, "upload": 503},
    }
    async with served(locked()) as url:
        for role, statuses in expected.items():
            found = {path: (await call(url, path, key=keys[role]))[0] for path in ("/documents", "/cache/stats")}
            found["upload"] = (await call(url, upload[0], key=keys[role], body=upload[1]))[0]
            assert found == statuses
        status, said, _ = await call(url, "/cache/stats", key=keys[Role.READER])
        assert (status, said["error"]["type"]) == (403, "permission_error")


async def test_a_principal_comes_from_the_credentials_alone(
    locked: Callable[..., Any], key_of: Callable[..., Any], library: Library, tenant: str
) -> None:
    """Neither header, query, body nor filter makes anybody somebody else."""
    await library.put("secret.txt", LEAVE, groups=("hr",))
    key = await key_of("anna")
    claims = {"x-tenant": tenant, "x-groups": "hr", "x-role": "admin", "x-user": "boss", "x-principal": "boss"}
    async with served(locked()) as url:
        for path in ("/documents", "/documents?groups=hr&tenant=other&role=admin"):
            assert (await call(url, path, key=key, **claims))[1]["documents"] == []
        for body in ({"question": QUESTION, "groups": ["hr"]}, {"question": QUESTION, "filter": {"groups": "hr"}},
                     {"question": QUESTION, "principal": {"groups": ["hr"]}}):  # fmt: skip
            assert (await call(url, "/chat", key=key, body=body))[0] == 400
        status, said, _ = await call(url, "/chat", key=key, body={"question": QUESTION})
        assert (status, said["mode"]) == (200, "refused")


async def test_conversations_are_their_principal_s_alone(
    locked: Callable[..., Any], key_of: Callable[..., Any], model: OpenAIModel, script: Script, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    script.reply = lambda _: "It is so [1]."
    anna, bob = await key_of("anna"), await key_of("bob")
    async with served(locked(model)) as url:
        for key, words in ((anna, "I am ill, what of parental leave?"), (bob, "How long is parental leave?")):
            status, _, _ = await call(url, "/chat", key=key, body={"question": words, "conversation_id": "1"})
            assert status == 200
        await call(url, "/chat", key=anna, body={"question": "And when do I say so?", "conversation_id": "1"})
    seen = ["\n".join(message["content"] for message in request["messages"]) for request in script.requests]
    assert "I am ill" not in seen[1]
    assert "I am ill" in seen[2]


async def test_limits_are_said_before_they_are_reached_and_when_they_are(
    locked: Callable[..., Any], key_of: Callable[..., Any]
) -> None:
    key, other = await key_of("busy", requests_per_minute=3), await key_of("other")
    async with served(locked()) as url:
        _, _, headers = await call(url, "/documents", key=key)
        assert headers["RateLimit-Policy"] == '"requests";q=3;w=60'
        assert headers["RateLimit"].startswith('"requests";r=2;t=')
        await call(url, "/nowhere", key=key)
        await call(url, "/chat", key=key, body=b"{")
        status, said, headers = await call(url, "/documents", key=key)
        assert (status, said["error"]["type"], said["error"]["code"]) == (
            429,
            "rate_limit_error",
            "rate_limit_exceeded",
        )
        assert 1 <= int(headers["Retry-After"]) <= 21
        assert (await call(url, "/documents", key=other))[0] == 200


async def test_answers_count_their_tokens_even_when_the_asker_leaves(
    locked: Callable[..., Any], key_of: Callable[..., Any], model: OpenAIModel, script: Script, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    script.reply = lambda _: "It is so, word for word for word [1]."
    script.token_gap_seconds = 0.05
    key = await key_of("anna", tokens_per_day=10)
    async with served(locked(model)) as url:
        async with aiohttp.ClientSession() as session:
            body, headers = {"question": QUESTION}, {"authorization": f"Bearer {key}"}
            async with session.post(f"{url}/chat", json=body, headers=headers) as response:
                async for event in sse_events(response):
                    if event.name == "token":
                        response.close()
                        break
        async with asyncio.timeout(10):
            while True:
                status, said, _ = await call(url, "/documents", key=key)
                if status == 429:
                    break
                await asyncio.sleep(0.02)
    assert "tokens a day" in said["error"]["message"]


async def test_one_principal_s_streams_leave_room_for_others(
    locked: Callable[..., Any], key_of: Callable[..., Any], model: OpenAIModel, script: Script, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    script.reply, script.first_token_seconds = (lambda _: "It is so [1]."), 0.5
    greedy, other = await key_of("greedy", streams=2), await key_of("other")
    async with served(locked(model)) as url:
        asks = [call(url, "/chat", key=greedy, body={"question": f"{QUESTION} {n}"}) for n in range(4)]
        *statuses, (calm, _, _) = await asyncio.gather(*asks, call(url, "/documents", key=other))
        assert sorted(status for status, _, _ in statuses) == [200, 200, 429, 429]
        assert calm == 200
        assert (await call(url, "/documents", key=greedy))[0] == 200, "their places are free again"


async def test_beyond_what_it_can_serve_a_process_refuses_at_once(
    chat_app: Callable[..., Any], model: OpenAIModel, script: Script, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    script.reply, script.first_token_seconds = (lambda _: "It is so [1]."), 0.5
    async with served(chat_app(model, most_open=3)) as url:
        asks = [call(url, "/chat", body={"question": f"{QUESTION} {n}"}) for n in range(8)]
        answered = await asyncio.gather(*asks)
        assert sorted(status for status, _, _ in answered) == [200] * 3 + [503] * 5
        refused = next(each for each in answered if each[0] == 503)
        assert refused[1]["error"]["code"] == "overloaded"
        assert refused[2]["Retry-After"] == "2"
        assert (await call(url, "/healthz"))[0] == 200
        assert (await call(url, "/documents"))[0] == 200


async def test_a_process_that_runs_late_takes_no_more_but_one_that_was_frozen_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = Load(10)
    for late_by, is_late in ((90.0, False), (0.0, False), (2.0, False), (3.0, False), (2.5, True), (0.1, False)):
        load._late_by.append(late_by)
        if is_late:
            with pytest.raises(OverloadedError, match="2 s late"), load.request():
                pass
        else:
            with load.request():
                assert load.open == 1
    assert load.open == 0


async def test_whoever_is_not_let_in_is_counted_by_reason(
    locked: Callable[..., Any], key_of: Callable[..., Any], library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    reports: list[AnswerMetrics] = []
    key, spent = await key_of("once", requests_per_minute=1), await key_of("spent", tokens_per_day=1)
    async with served(locked(report=reports.append, most_open=8)) as url:
        await call(url, "/documents", key=key)
        await call(url, "/documents", key=key)
        await call(url, "/chat", key=spent, body={"question": QUESTION})
    assert [report.refused_for for report in reports] == ["rate_limit_exceeded", ""]
    load = Load(0)
    visit = Visit(Principal())
    with pytest.raises(OverloadedError):
        visit.begin_search(load)
    assert visit.metrics.refused_for == "overloaded"


def test_metrics_say_what_was_spent_and_who_was_not_let_in(capsys: pytest.CaptureFixture[str]) -> None:
    for code, name in (("rate_limit_exceeded", "RequestsLimited"), ("insufficient_quota", "RequestsOverQuota"), ("overloaded", "RequestsShed")):  # fmt: skip
        report_to_cloudwatch(AnswerMetrics(refused_for=code), namespace="Headrace/dev", pricing=Pricing())
        assert json.loads(capsys.readouterr().out)[name] == [1.0]
    spent = AnswerMetrics(CacheVerdict.MISS, tokens=70, judge_tokens=5, is_measured=True)
    report_to_cloudwatch(spent, namespace="Headrace/dev", pricing=Pricing())
    told = json.loads(capsys.readouterr().out)
    assert told["TokensSpent"] == [75.0]
    assert told["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Headrace/dev"


def test_metrics_say_what_failed_and_what_it_cost(capsys: pytest.CaptureFixture[str]) -> None:
    failed = AnswerMetrics()
    failed.fail(ModelUnavailableError("It is away."))
    report_to_cloudwatch(failed, namespace="n", pricing=Pricing())
    told = json.loads(capsys.readouterr().out)
    assert (told["AnswerErrors"], told["ModelErrors"], told["error"]) == ([1.0], [1.0], "model_unavailable")
    failed.fail(ValueError("ours"))
    report_to_cloudwatch(failed, namespace="n", pricing=Pricing())
    told = json.loads(capsys.readouterr().out)
    assert (told["AnswerErrors"], "ModelErrors" in told, told["error"]) == ([1.0], False, "internal_error")
    failed.fail(TimeoutError())
    report_to_cloudwatch(failed, namespace="n", pricing=Pricing())
    assert json.loads(capsys.readouterr().out)["error"] == "deadline_exceeded"
    for no_fault in (AbandonedError("They left."), InvalidInputError("What?"), asyncio.CancelledError()):
        failed.fail(no_fault)
        report_to_cloudwatch(failed, namespace="n", pricing=Pricing())
        assert capsys.readouterr().out == "", "who leaves, or asks for nonsense, is no fault of ours"
    spent = AnswerMetrics(
        CacheVerdict.MISS,
        tokens=110,
        prompt_tokens=100,
        completion_tokens=10,
        model="m",
        similarity=0.75,
        mode="refused",
    )
    report_to_cloudwatch(spent, namespace="n", pricing=Pricing({"m": (1.0, 10.0)}))
    told = json.loads(capsys.readouterr().out)
    assert told["DollarsSpent"] == [pytest.approx(0.0002)]
    assert (told["BestSimilarity"], told["AnswersRefused"], told["model"]) == ([0.75], [1.0], "m")
    spent.verdict = CacheVerdict.HIT
    report_to_cloudwatch(spent, namespace="n", pricing=Pricing({"m": (1.0, 10.0)}))
    assert json.loads(capsys.readouterr().out)["DollarsSpent"] == [0.0]


async def test_as_many_searches_are_let_in_as_are_done_in_time_and_more_again_when_they_are() -> None:
    now = 0.0
    load = Load(64, clock=lambda: now)

    def most() -> int:
        searches = []
        with suppress(OverloadedError):
            while True:
                searches.append(load.search())
        for search in searches:
            search.end()
            search.end()
        return len(searches)

    async def rounds(count: int, seconds: float) -> int:
        nonlocal now
        for _ in range(count):
            searches = [load.search() for _ in range(8)]
            now += seconds
            for search in searches:
                search.end()
        return most()

    assert most() == 64, "a burst is let in while nothing is known"
    assert await rounds(30, seconds=4.0) == 8, "there is always room for some"
    assert 8 < await rounds(20, seconds=0.5) < 64
    assert await rounds(200, seconds=0.5) == 64
    assert load._searches == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"question": "' + b"x" * (2 * 1024 * 1024) + b'"}', 413),
        (b'{"question": "\\ud83d"}', 400),
        (b'{"question": "\\uDE00 \\uD83D"}', 400),
        (b'{"question": "\\ud83d\\ude00 who?"}', 200),
        (b"[" * 100_000, 400),
        (b'{"question": "\xff"}', 400),
        (b'{"question": "x", "filter": {"$or": [' + b'{"page": 1},' * 99 + b'{"page": 1}]}}', 200),
        (b'{"question": "x", "filter": {"$or": [' + b'{"page": {"$in": [1,2,3]}},' * 99 + b'{"page": 1}]}}', 400),
        (b'{"question": "x", "filter": {"name": "' + b"n" * 20_001 + b'"}}', 400),
    ],
)
async def test_bodies_are_bounded_before_anything_reads_them(
    chat_app: Callable[..., Any], body: bytes, status: int
) -> None:
    async with served(chat_app()) as url:
        found, said, _ = await call(url, "/chat", body=body)
        assert found == status, said
        if status != 200:
            assert said["error"]["message"]


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        ([("user", "x" * 8_000)], 200),
        ([("user", "x" * 8_001)], 400),
        ([("assistant", "x" * 100_001), ("user", "why?")], 400),
        ([("system", "x" * 100_001), ("user", "why?")], 400),
        ([("user", "x" * 90_000)] * 5 + [("user", "why?")], 400),
        ([("user", "\ud800"), ("user", "why?")], 400),
    ],
)
async def test_all_text_of_openai_s_clients_is_bounded(
    chat_app: Callable[..., Any], messages: list[tuple[str, str]], status: int
) -> None:
    body = {"model": "headrace", "messages": [{"role": role, "content": text} for role, text in messages]}
    async with served(chat_app()) as url:
        found, said, _ = await call(url, "/v1/chat/completions", body=body)
        assert found == status, said


async def test_a_body_that_says_too_much_of_itself_is_not_waited_for(chat_app: Callable[..., Any]) -> None:
    async with served(chat_app()) as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"POST /chat HTTP/1.1\r\nHost: {host}\r\nContent-Length: {10**12}\r\n\r\n".encode())
        async with asyncio.timeout(5):
            assert b"413" in await reader.readline()
        writer.close()


async def test_browsers_are_told_what_they_may_do_with_a_response(chat_app: Callable[..., Any]) -> None:
    async with served(chat_app()) as url:
        for path in ("/", "/page.js", "/documents", "/nowhere", "/chat"):
            status, _, headers = await call(url, path)
            assert headers["X-Content-Type-Options"] == "nosniff", path
            assert headers["Referrer-Policy"] == "no-referrer"
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert "unsafe" not in headers["Content-Security-Policy"]
            assert (status, headers["Cache-Control"]) in {
                (200, "no-cache"),
                (200, "no-store"),
                (404, "no-store"),
                (405, "no-store"),
            }
        page = (await call(url, "/"))[1].decode()
        assert "<script>" not in page
        assert "style=" not in page
        assert "<style" not in page
        assert " on" not in page.replace(" only", "").replace(" one", ""), "no inline handlers"


async def test_what_went_wrong_unforeseen_says_nothing_of_itself(
    chat_app: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a secret detail")

    monkeypatch.setattr("headrace.redis_state.registry.RedisRegistry.page", broken)
    async with served(chat_app()) as url:
        status, said, headers = await call(url, "/documents")
    assert (status, said["error"]["code"]) == (500, "internal_error")
    assert "secret" not in json.dumps(said)
    assert headers["X-Content-Type-Options"] == "nosniff"


async def test_pages_of_other_sites_cannot_use_a_server_on_this_machine(chat_app: Callable[..., Any]) -> None:
    async with served(chat_app()) as url:
        assert (await call(url, "/documents", host="evil.example"))[0] == 403
        assert (await call(url, "/documents", origin="https://evil.example"))[0] == 403
        assert (await call(url, "/documents", origin=url))[0] == 200


async def test_limits_hold_over_processes(locked: Callable[..., Any], key_of: Callable[..., Any], redis: Redis) -> None:
    key = await key_of("anna")
    limiters = [RedisRateLimiter(redis, RateLimits(4, 10), timeout_seconds=5.0) for _ in range(2)]
    async with served(locked(limiter=limiters[0])) as one, served(locked(limiter=limiters[1])) as other:
        statuses = [(await call(url, "/documents", key=key))[0] for url in (one, other) * 3]
    assert statuses == [200] * 4 + [429] * 2
