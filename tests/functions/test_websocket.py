"""One socket, many questions: the same events as over SSE, in this process and through API Gateway's events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import ANY

import aiohttp
import pytest
from redis.asyncio import Redis
from starlette.applications import Starlette

from functions.chat.dependencies import Sockets
from functions.chat.socket import GOOD_BYTES, Outbox
from functions.chat.wire.frames import MOST_BYTES, write_event
from headrace.auth.api_keys import ApiKeyAuthenticator, new_key
from headrace.errors import AbandonedError, ConfigurationError, UnavailableError
from headrace.models.openai import OpenAIModel, open_openai_model
from headrace.redis_state.api_keys import RedisApiKeys
from headrace.redis_state.conversations import RedisConversations
from headrace.redis_state.sockets import RedisSocketRegistry
from headrace.sockets.api_gateway import open_api_gateway_sender
from headrace.types import Chunk, Passage, PassagesEvent, Principal, Role
from infra.local.processes import free_port
from infra.local.websocket_api import PREFIX, WebSocketApi
from tests.lambda_runtime.conftest import serving
from tests.support.http import served, sse_events
from tests.support.library import Library
from tests.support.openai_server import Script
from tests.support.runtime_api import RuntimeApiDouble

LEAVE = "Parents may take 26 weeks of parental leave."
REPLY = "You may take 26 weeks of leave as a parent [1], and that is all that there is to say of it."
QUESTION = "How many weeks of parental leave are there?"
Message = dict[str, Any]


@dataclass
class Client:
    """A client's end of a socket: what it has heard, by request."""

    socket: aiohttp.ClientWebSocketResponse
    frames: int = 0

    async def send(self, **frame: Any) -> None:
        await self.socket.send_str(json.dumps(frame))

    async def messages(self) -> AsyncIterator[Message]:
        async for frame in self.socket:
            assert frame.type is aiohttp.WSMsgType.TEXT
            self.frames += 1
            for line in frame.data.split("\n"):
                yield json.loads(line)

    async def answer(self, request_id: str = "1", *, most: int = 10_000) -> list[Message]:
        """The messages of a request, to its end or until there are `most`."""
        found: list[Message] = []
        async with asyncio.timeout(20):
            async for message in self.messages():
                if message.get("request_id") == request_id:
                    found.append(message)
                if len(found) == most or (found and found[-1]["event"] in {"done", "error", "stop", "pong"}):
                    break
        return found


@dataclass
class Door:
    """Where a chat application is asked over a WebSocket and over HTTP."""

    url: str
    socket_url: str

    @asynccontextmanager
    async def connected(self, **options: Any) -> AsyncIterator[Client]:
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(self.socket_url, **options) as socket:
                yield Client(socket)


@pytest.fixture
async def model(openai_url: str, stack: AsyncExitStack) -> OpenAIModel:
    return await stack.enter_async_context(open_openai_model(api_key="k", base_url=openai_url, model="m"))


@pytest.fixture(params=["this process", "API Gateway"])
def opened(
    request: pytest.FixtureRequest,
    chat_app: Callable[..., Any],
    model: OpenAIModel,
    library: Library,
    script: Script,
    redis: Redis,
    stack: AsyncExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Any]:
    """Opens a door of either kind; the model writes slowly."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    async def open_door(**options: Any) -> Door:
        script.reply, script.token_gap_seconds = (lambda _: REPLY), 0.01
        await library.put("handbook.txt", LEAVE)
        options = {"grace_seconds": 10.0, **options}
        if request.param == "this process":
            url = await stack.enter_async_context(served(chat_app(model, **options)))
            return Door(url, f"{url}/ws")
        # The gateway keeps the sockets; the runtime runs the application as on AWS, which posts frames to it by boto3.
        runtime: RuntimeApiDouble | None = None

        async def invoke(event: Message) -> Message:
            assert runtime is not None
            outcome = await runtime.run(event)
            return json.loads(outcome.payload) if outcome.payload is not None else {"statusCode": 500}

        gateway = await stack.enter_async_context(served(Starlette(routes=WebSocketApi(invoke).routes)))
        sender = await stack.enter_async_context(open_api_gateway_sender())
        sockets = Sockets(RedisSocketRegistry(redis), sender, f"{gateway}{PREFIX}")
        app = chat_app(model, sockets=sockets, **options)
        runtime = await stack.enter_async_context(serving(app, concurrency=4))
        url = await stack.enter_async_context(served(chat_app(model, **options)))
        return Door(url, f"{gateway}/ws")

    return open_door


async def over_sse(url: str, question: str) -> list[tuple[str, Any]]:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/chat", json={"question": question}) as response:
            return [(event.name, event.data) async for event in sse_events(response)]


def text_in(messages: list[Message]) -> str:
    return "".join(message["data"]["text"] for message in messages if message["event"] == "token")


def comparable(events: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Without what no two answers have in common."""
    changing = {"conversation_id", "age_seconds"}
    return [(name, {key: value for key, value in data.items() if key not in changing}) for name, data in events]


async def test_a_question_has_the_same_transcript_as_over_sse(opened: Callable[..., Any], script: Script) -> None:
    door = await opened()
    async with door.connected() as client:
        await client.send(action="ask", request_id="1", question=QUESTION)
        made = await client.answer()
        await client.send(action="ask", request_id="2", question=QUESTION)
        cached = await client.answer("2")
    run_id = made[0]["run_id"]
    assert [message["id"] for message in made] == [f"{run_id}.{number}" for number in range(1, len(made) + 1)]
    assert text_in(made) == text_in(cached) == REPLY
    assert cached[0]["data"]["stage"] == "cached"
    assert comparable([(each["event"], each["data"]) for each in cached]) == comparable(
        await over_sse(door.url, QUESTION)
    )
    said = await over_sse(door.url, "How many weeks of parental leave are there for fathers?")
    assert [name for name, _ in said] == [message["event"] for message in made]
    fixed = {"status", "token", "citation"}
    assert [event for event in said if event[0] in fixed] == [
        (message["event"], message["data"]) for message in made if message["event"] in fixed
    ]
    assert len(script.answers()) == 2


async def test_several_questions_at_once_and_a_conversation(
    opened: Callable[..., Any], script: Script, redis: Redis, tenant: str
) -> None:
    door = await opened()
    questions = {str(number): f"How many weeks are there in case number {number}?" for number in range(3)}
    heard: dict[str, list[Message]] = {request_id: [] for request_id in questions}
    async with door.connected() as client:
        for request_id, question in questions.items():
            await client.send(action="ask", request_id=request_id, question=question)
        async with asyncio.timeout(20):
            async for message in client.messages():
                heard[message["request_id"]].append(message)
                if sum(each[-1]["event"] == "done" for each in heard.values() if each) == len(questions):
                    break
        assert [text_in(messages) for messages in heard.values()] == [REPLY] * 3
        conversation = heard["0"][-1]["data"]["conversation_id"]
        await client.send(action="ask", request_id="next", question="And then?", conversation_id=conversation)
        assert (await client.answer("next"))[-1]["data"]["conversation_id"] == conversation
    asker = Principal(tenant, role=Role.ADMIN)
    assert len(await RedisConversations(redis, ttl_seconds=60).history(asker, conversation)) == 4


async def test_cut_at_every_event_it_is_resumed_on_another_socket(opened: Callable[..., Any], script: Script) -> None:
    door = await opened()
    async with door.connected() as client:
        await client.send(action="ask", request_id="1", question="How many weeks are there?")
        count = len(await client.answer())
    before = len(script.answers())

    async def check(cut: int) -> None:
        async with door.connected() as client:
            await client.send(action="ask", request_id="1", question=f"How many weeks are there in case number {cut}?")
            first = await client.answer(most=cut)
        async with door.connected() as client:
            await client.send(action="resume", request_id="1", last_event_id=first[-1]["id"])
            # Behind its last event, there is nothing to hear of it.
            rest = await client.answer() if first[-1]["event"] != "done" else []
        assert text_in([*first, *rest]) == REPLY
        run_id = first[0]["run_id"]
        assert [message["id"] for message in [*first, *rest]] == [f"{run_id}.{n}" for n in range(1, count + 1)]

    for start in range(1, count + 1, 8):
        await asyncio.gather(*(check(cut) for cut in range(start, min(start + 8, count + 1))))
    assert len(script.answers()) - before == count, "once for each question"


async def test_a_stop_is_heeded_and_said(opened: Callable[..., Any], script: Script) -> None:
    door = await opened()
    script.reply, script.token_gap_seconds = (lambda _: "word " * 500), 0.03
    async with door.connected() as client:
        await client.send(action="ask", request_id="1", question=QUESTION)
        first = await client.answer(most=5)
        await client.send(action="stop", request_id="stop", run_id=first[0]["run_id"])
        said: list[Message] = []
        async with asyncio.timeout(5):
            async for message in client.messages():
                said.append(message)
                if {"stop", "done"} <= {each["event"] for each in said}:
                    break
    done = next(message for message in said if message["event"] == "done")
    stopped = next(message for message in said if message["event"] == "stop")
    assert done["data"]["finish_reason"] == "stopped"
    assert (stopped["request_id"], stopped["data"]) == ("stop", {"stopped": True})
    assert len(said) < 30
    async with asyncio.timeout(5):
        while script.open_streams:
            await asyncio.sleep(0.01)


async def test_what_is_wrong_with_a_frame_is_said_and_the_socket_goes_on(opened: Callable[..., Any]) -> None:
    door = await opened()
    gone = "0123456789abcdef"
    async with door.connected() as client:
        for frame, code, param in (
            ("no json", "invalid_request", None),
            ("[1]", "invalid_request", None),
            ('{"action": "dance"}', "invalid_request", None),
            ('{"action": "ask"}', "invalid_request", "question"),
            ('{"action": "ping", "request_id": "\\ud800"}', "invalid_request", None),
            ("x" * 125_000, "too_large", None),
            ('{"action": "ask", "question": "  "}', "invalid_request", "question"),
            ('{"action": "ask", "question": "\\ud800"}', "invalid_request", None),
            ('{"action": "ask", "question": "x", "colour": "red"}', "invalid_request", "colour"),
            ('{"action": "ask", "question": "x", "model": "none"}', "model_not_found", "model"),
            ('{"action": "ask", "question": "x", "filter": {"$or": 1}}', "invalid_request", None),
            (f'{{"action": "stop", "run_id": "{gone}"}}', "run_not_found", "run_id"),
            (f'{{"action": "resume", "last_event_id": "{gone}.1"}}', "run_not_found", "run_id"),
            ('{"action": "resume", "last_event_id": "x"}', "invalid_request", "last_event_id"),
        ):
            await client.socket.send_str(frame)
            async with asyncio.timeout(5):
                message = await anext(client.messages())
            error = message["data"]
            assert (message["event"], error["code"], frame) == ("error", code, frame)
            assert param is None or error["param"] == param
            assert "Traceback" not in error["message"]
        await client.send(action="ask", request_id="long", question="x" * 9_000)
        assert (await client.answer("long"))[-1]["data"]["param"] == "question"
        await client.send(action="ping", request_id="p")
        assert (await client.answer("p"))[0]["event"] == "pong"


async def test_nobody_unknown_is_let_in_and_a_browser_shows_its_key_as_a_subprotocol(
    opened: Callable[..., Any], redis: Redis, tenant: str
) -> None:
    key, record = new_key(Principal(tenant))
    await RedisApiKeys(redis).save(record)
    door = await opened(authenticator=ApiKeyAuthenticator(RedisApiKeys(redis)))
    no_key: dict[str, Any] = {}
    for options in (no_key, {"headers": {"Authorization": "Bearer nonsense"}}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with door.connected(**options):
                pass
        assert refused.value.status == 401
    in_header: dict[str, Any] = {"headers": {"Authorization": f"Bearer {key}"}}
    for options in (in_header, {"protocols": ["headrace", f"bearer.{key}"]}):
        async with door.connected(**options) as client:
            assert client.socket.protocol == ("headrace" if "protocols" in options else None), "no key is sent back"
            await client.send(action="ask", request_id="1", question=QUESTION)
            assert (await client.answer())[-1]["event"] == "done"


async def test_a_client_that_has_gone_leaves_a_run_that_goes_on_for_a_while(
    opened: Callable[..., Any], script: Script, redis: Redis, tenant: str
) -> None:
    door = await opened(grace_seconds=0.5)
    async with door.connected() as client:
        await client.send(action="ask", request_id="1", question=QUESTION)
        await client.answer(most=3)
    conversations, asker = RedisConversations(redis, ttl_seconds=60), Principal(tenant, role=Role.ADMIN)
    async with asyncio.timeout(5):
        while not (found := await conversations.all(asker)):
            await asyncio.sleep(0.02)
    assert [turn.content for turn in await conversations.history(asker, found[0].id)] == [QUESTION, REPLY]
    script.reply = lambda _: "word " * 1000
    async with door.connected() as client:
        await client.send(action="ask", request_id="1", question="How many weeks are there for fathers?")
        await client.answer(most=5)
        assert script.open_streams == 1
    async with asyncio.timeout(5):
        while script.open_streams:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("opened", ["API Gateway"], indirect=True)
async def test_events_of_connections_that_are_not_known_are_refused_and_urls_are_no_events(
    opened: Callable[..., Any], chat_app: Callable[..., Any], redis: Redis, stack: AsyncExitStack
) -> None:
    door = await opened()
    async with aiohttp.ClientSession() as session:
        for step in ("connect", "message", "disconnect"):
            async with session.post(f"{door.url}/ws/{step}", data="{}") as response:
                assert response.status == 404
    sender = await stack.enter_async_context(open_api_gateway_sender())
    app = chat_app(sockets=Sockets(RedisSocketRegistry(redis), sender, f"http://127.0.0.1:{free_port()}"))
    async with serving(app) as api:
        context = {"connectionId": "nobody", "eventType": "MESSAGE", "domainName": "x", "stage": "y", "identity": {}}
        outcome = await api.run({"requestContext": context, "body": "{}"})
        assert json.loads(outcome.payload or b"{}") == {
            "statusCode": 200,
            "headers": ANY,
            "body": "",
            "isBase64Encoded": False,
        }
        outcome = await api.run({"requestContext": {**context, "eventType": "DANCE"}})
        assert outcome.error_type == "Runtime.BadEvent"
        for path in ("/ws/connect", "/ws/message"):
            event = {"version": "2.0", "rawPath": path, "requestContext": {"http": {"method": "POST", "sourceIp": "127.0.0.1"}},
                     "headers": {"host": "localhost"}, "body": "{}"}  # fmt: skip
            outcome = await api.run(event)
            assert outcome.prelude["statusCode"] == 404


@pytest.mark.parametrize("opened", ["API Gateway"], indirect=True)
async def test_a_connection_is_forgotten_when_it_ends(opened: Callable[..., Any], redis: Redis) -> None:
    before = {key async for key in redis.scan_iter(match="headrace:socket:*")}
    door = await opened()
    async with door.connected() as client:
        await client.send(action="ping", request_id="p")
        await client.answer("p")
        (key,) = {key async for key in redis.scan_iter(match="headrace:socket:*")} - before
        assert 7000 < await redis.ttl(key) < 7300, "no connection lasts longer"
    async with asyncio.timeout(5):
        while await redis.exists(key):
            await asyncio.sleep(0.01)


async def test_what_comes_while_a_frame_is_on_its_way_goes_together_into_the_next() -> None:
    frames: list[str] = []
    go = asyncio.Semaphore(0)

    async def send(frame: str) -> None:
        frames.append(frame)
        await go.acquire()

    outbox = Outbox(send)
    await outbox.put("first")
    await asyncio.sleep(0)
    for number in range(5):
        await outbox.put(f"line {number}")
    go.release()
    go.release()
    await outbox.drain()
    assert frames == ["first", "\n".join(f"line {number}" for number in range(5))]
    # More than a frame is waited for, and goes in frames that a gateway takes.
    big = "x" * (MOST_BYTES // 2)
    putting = asyncio.create_task(_put(outbox, [big] * 5))
    await asyncio.sleep(0.01)
    assert not putting.done()
    for _ in range(10):
        go.release()
    await putting
    await outbox.drain()
    assert all(len(frame) <= MOST_BYTES for frame in frames)
    frames.clear()
    for _ in range(100):
        go.release()
    await _put(outbox, ["y" * 1_000] * 100)
    await outbox.drain()
    assert 3 < len(frames) < 20
    assert all(len(frame) <= GOOD_BYTES for frame in frames)
    await outbox.aclose()


async def _put(outbox: Outbox, lines: list[str]) -> None:
    for line in lines:
        await outbox.put(line)


async def test_a_frame_that_is_not_taken_now_is_sent_again_and_what_can_not_be_sent_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults: list[Exception] = [UnavailableError("LimitExceeded"), ConfigurationError("It needs ManageConnections.")]
    frames: list[str] = []

    async def send(frame: str) -> None:
        frames.append(frame)
        if len(frames) != 2:
            raise faults.pop(0)

    outbox = Outbox(send)
    await outbox.put("first")
    await outbox.drain()
    await outbox.put("second")
    with pytest.raises(AbandonedError):
        await outbox.drain()
    assert frames == ["first", "first", "second"]
    assert "It needs ManageConnections." in caplog.text
    await outbox.aclose()


async def test_nobody_waits_for_a_frame_that_nobody_takes() -> None:
    async def gone(frame: str) -> None:
        raise AbandonedError("The connection is closed.")

    outbox = Outbox(gone)
    await outbox.put("first")
    with pytest.raises(AbandonedError):
        await outbox.drain()
    with pytest.raises(AbandonedError):
        await outbox.put("second")
    await outbox.aclose()


def test_passages_that_are_too_long_for_a_frame_are_cut() -> None:
    for text in ("日本語 ", "\x01\x02"):
        chunk = Chunk("documents/a.txt", 1, 0, text * 20_000, html="<table>" * 10_000)
        line = write_event(PassagesEvent(tuple(Passage(chunk, 1.0) for _ in range(6))), "1", "0" * 16, 3)
        assert len(line.encode()) <= MOST_BYTES
        passages = json.loads(line)["data"]["passages"]
        assert len(passages) == 6
        assert all(passage["text"].startswith(text) and passage["text"].endswith("…") for passage in passages)
