"""Clause by clause: what the runtime says to Lambda."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from typing import Any

import pytest

from headrace.lambda_runtime import current_invocation
from tests.lambda_runtime.conftest import Serve
from tests.support.runtime_api import Outcome, url_event

TEXT = [(b"content-type", b"text/plain")]


def responding(*pieces: bytes, status: int = 200, headers: Any = TEXT) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    return app


async def test_prelude_delimiter_and_every_piece_come_as_chunks_of_their_own(serve: Serve) -> None:
    async with serve(responding(b"one", b"two", b"\x00three")) as api:
        outcome = await api.run(url_event())
    assert outcome.prelude == {"statusCode": 200, "headers": {"content-type": "text/plain"}, "cookies": []}
    assert outcome.body_chunks == [b"one", b"two", b"\x00three"]
    assert outcome.trailers == {}


async def test_each_piece_is_sent_at_once(serve: Serve) -> None:
    release = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": TEXT})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await release.wait()
        await send({"type": "http.response.body", "body": b"second"})

    async with serve(app) as api:
        outcome = api.invoke(url_event())
        async with asyncio.timeout(5):
            while b"first" not in [chunk for _, chunk in outcome.chunks]:
                await asyncio.sleep(0.001)
        assert not outcome.done.is_set()
        release.set()
        await outcome.done.wait()
    assert outcome.body == b"firstsecond"


async def test_cookies_go_apart_and_other_headers_are_joined(serve: Serve) -> None:
    headers = [
        (b"Set-Cookie", b"a=1; Path=/"), (b"set-cookie", b"b=2"), (b"vary", b"accept"), (b"Vary", b"origin"),
        (b"transfer-encoding", b"chunked"), (b"connection", b"close"), (b"x-latin", "é".encode("latin-1")),
    ]  # fmt: skip
    async with serve(responding(b"x", headers=headers)) as api:
        outcome = await api.run(url_event())
    assert outcome.prelude["cookies"] == ["a=1; Path=/", "b=2"]
    assert outcome.prelude["headers"] == {"vary": "accept, origin", "x-latin": "é"}


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("POST", 302)])
async def test_empty_bodies_still_have_a_prelude(serve: Serve, method: str, status: int) -> None:
    body = () if status == 302 else (b"must not be sent",)
    async with serve(responding(*body, status=status)) as api:
        outcome = await api.run(url_event(method))
    assert (outcome.prelude["statusCode"], outcome.body) == (status, b"")


async def test_an_empty_body_can_be_given_one_byte(serve: Serve) -> None:
    async with serve(responding(status=204), response={"fill_empty": True}) as api:
        assert (await api.run(url_event())).body == b"\n"
    async with serve(responding(b"x"), response={"fill_empty": True}) as api:
        assert (await api.run(url_event())).body == b"x"


async def test_events_can_be_flushed_by_a_comment(serve: Serve) -> None:
    sse = [(b"content-type", b"text/event-stream; charset=utf-8")]
    events = (b"data: 1\n\n", b"data: ", b"2\n\n")
    async with serve(responding(*events, headers=sse), response={"flush_sse": True}) as api:
        outcome = await api.run(url_event())
    assert outcome.body_chunks == [b"data: 1\n\n", b":\n\n", b"data: ", b"2\n\n", b":\n\n"]
    async with serve(responding(*events), response={"flush_sse": True}) as api:
        assert (await api.run(url_event())).body == b"".join(events), "only event streams"


def failing(after: bytes | None, error: Exception) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        if after is not None:
            await send({"type": "http.response.start", "status": 200, "headers": TEXT})
            await send({"type": "http.response.body", "body": after, "more_body": True})
        raise error

    return app


async def test_a_failure_before_the_start_is_an_error_without_its_secrets(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(failing(None, LookupError("password=hunter2"))) as api:
        outcome = await api.run(url_event())
        assert (await api.run(url_event())).error, "the environment goes on"
    assert outcome.error == {
        "errorMessage": "The application failed; its log says why.", "errorType": "LookupError", "stackTrace": [],
    }  # fmt: skip
    assert outcome.error_type == "LookupError"
    assert outcome.chunks == []
    assert "hunter2" in caplog.text


async def test_a_failure_midway_is_said_in_the_trailers(serve: Serve) -> None:
    async with serve(failing(b"half", LookupError("secret"))) as api:
        outcome = await api.run(url_event())
    assert outcome.body == b"half"
    assert outcome.error is None
    assert outcome.trailers["lambda-runtime-function-error-type"] == "LookupError"
    assert outcome.trailer_error["errorMessage"] == "The application failed; its log says why."
    assert "secret" not in json.dumps(outcome.trailer_error)


async def test_an_answer_that_lambda_cuts_off_is_lost_alone(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Lambda closes the response's connection midway: the application is told by OSError, and the next event is served."""
    raised: list[BaseException] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        if scope["path"] == "/":
            await responding(b"x")(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": TEXT})
        try:
            for _ in range(10_000):
                await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
                await asyncio.sleep(0.001)
        except OSError as error:
            raised.append(error)
            raise

    async with serve(app) as api:
        outcome = api.invoke(url_event(path="/long"))
        await outcome.arrived.wait()
        dead = list(api._tasks)
        for task in dead:
            task.cancel()
        # Else the event might be handed to a connection that is about to close.
        await asyncio.wait(dead)
        assert (await api.run(url_event())).body == b"x"
    assert raised


async def test_an_applications_own_timeout_is_its_own_failure(serve: Serve) -> None:
    async with serve(failing(None, TimeoutError("a query"))) as api:
        assert (await api.run(url_event())).error_type == "TimeoutError"


async def silent(scope: Any, receive: Any, send: Any) -> None:
    pass


async def incomplete(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})


async def twice(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        for _ in range(2):
            await send({"type": "http.response.start", "status": 200, "headers": []})


async def bodiless(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.body", "body": b"x"})


async def strange(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "websocket.accept"})


async def wide(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y" * 20_000)]})


@pytest.mark.parametrize(
    ("app", "kind"),
    [
        (silent, "Runtime.NoResponse"), (incomplete, "Runtime.IncompleteResponse"), (twice, "Runtime.BadMessage"),
        (bodiless, "Runtime.BadMessage"), (strange, "Runtime.BadMessage"), (wide, "Runtime.HeadersTooLarge"),
    ],
)  # fmt: skip
async def test_an_application_that_breaks_asgi_is_told_so(serve: Serve, app: Any, kind: str) -> None:
    async with serve(app) as api:
        outcome = await api.run(url_event())
    assert kind in (outcome.error_type, outcome.trailers.get("lambda-runtime-function-error-type"))


async def test_the_deadline_cancels_the_application_with_time_left_to_say_so(serve: Serve) -> None:
    ended: list[float] = []

    def endless(begin: bool) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                raise NotImplementedError
            context = scope["aws.context"]
            try:
                if begin:
                    await send({"type": "http.response.start", "status": 200, "headers": TEXT})
                await asyncio.sleep(60)
            finally:
                ended.append(context.get_remaining_time_in_millis())

        return app

    async with serve(endless(begin=False), grace_seconds=0.3) as api:
        outcome = await api.run(url_event(), timeout_seconds=0.5)
        assert outcome.error_type == "Runtime.DeadlineExceeded"
    async with serve(endless(begin=True), grace_seconds=0.3) as api:
        outcome = await api.run(url_event(), timeout_seconds=0.5)
        assert outcome.trailers["lambda-runtime-function-error-type"] == "Runtime.DeadlineExceeded"
    assert len(ended) == 2
    assert all(0 < left <= 300 for left in ended)


async def test_background_work_ends_before_the_next_invocation_is_asked_for(serve: Serve) -> None:
    finished = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await responding(b"x")(scope, receive, send)
        await asyncio.sleep(0.05)
        finished.set()

    async with serve(app) as api:
        outcome = await api.run(url_event())
        assert not finished.is_set(), "the client has its end of stream first"
        assert api.waiting == 0
        await finished.wait()
        async with asyncio.timeout(5):
            while not api.waiting:
                await asyncio.sleep(0.001)
    assert outcome.body == b"x"


async def test_a_failure_after_the_end_is_logged_and_harms_nobody(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await responding(b"x")(scope, receive, send)
            raise LookupError("in the background")

    async with serve(app) as api:
        assert (await api.run(url_event())).body == b"x"
        assert (await api.run(url_event())).body == b"x"
    assert "in the background" in caplog.text


async def test_the_reader_hears_of_a_disconnect_only_after_the_end(serve: Serve) -> None:
    heard: list[str] = []
    ended = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        heard.append((await receive())["type"])
        listening = asyncio.create_task(receive())
        await send({"type": "http.response.start", "status": 200, "headers": TEXT})
        await asyncio.sleep(0.01)
        assert not listening.done()
        await send({"type": "http.response.body", "body": b"x"})
        heard.append((await listening)["type"])
        ended.set()

    async with serve(app) as api:
        await api.run(url_event())
        await ended.wait()
    assert heard == ["http.request", "http.disconnect"]


async def test_the_invocation_id_is_echoed_when_there_is_one(serve: Serve) -> None:
    headers = {"Lambda-Runtime-Invocation-Id": "i-7"}
    for app in (responding(b"x"), failing(None, ValueError())):
        async with serve(app) as api:  # the double compares
            await api.run(url_event(), headers=headers)
            await api.run(url_event())


async def test_each_invocation_has_its_own_context_and_trace(serve: Serve) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        context = current_invocation()
        assert context is scope["aws.context"]
        assert context is not None
        said = {
            "id": context.aws_request_id, "trace": os.environ.get("_X_AMZN_TRACE_ID"), "arn": context.invoked_function_arn,
            "tenant": context.tenant_id, "client": context.client_context,
        }  # fmt: skip
        await responding(json.dumps(said).encode())(scope, receive, send)

    async with serve(app) as api:
        headers = {"Lambda-Runtime-Aws-Tenant-Id": "t9", "Lambda-Runtime-Client-Context": '{"custom": 1}'}
        first = await api.run(url_event(), headers=headers)
        second = await api.run(
            url_event(), headers={"Lambda-Runtime-Trace-Id": "", "Lambda-Runtime-Client-Context": "{"}
        )
    assert json.loads(first.body) == {
        "id": first.request_id, "trace": first.headers["Lambda-Runtime-Trace-Id"], "tenant": "t9", "client": {"custom": 1},
        "arn": "arn:aws:lambda:us-east-1:000000000000:function:test",
    }  # fmt: skip
    said = json.loads(second.body)
    assert (said["id"], said["trace"], said["client"]) == (second.request_id, None, None)
    assert current_invocation() is None


async def test_a_slow_reader_slows_the_application(serve: Serve) -> None:
    written = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal written
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 200, "headers": TEXT})
        for _ in range(400):
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
            written += 1
        await send({"type": "http.response.body"})

    async with serve(app) as api:
        outcome = api.invoke(url_event(), read_delay_seconds=0.005)
        await outcome.arrived.wait()
        await asyncio.sleep(0.1)
        # Kernel buffers hold a few megabytes at most; the application must wait for the reader.
        assert written - len(outcome.chunks) < 150
        outcome.read_delay_seconds = 0
        await outcome.done.wait()
    assert len(outcome.body) == 400 * 65_536


async def test_a_stalled_reader_does_not_hold_the_environment_past_the_deadline(serve: Serve) -> None:
    async def flood(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 200, "headers": TEXT})
        while scope["path"] == "/flood":
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
        await send({"type": "http.response.body", "body": b"fine"})

    async with serve(flood, grace_seconds=0.5) as api:
        api.invoke(url_event(path="/flood"), timeout_seconds=1.0, read_delay_seconds=60)
        async with asyncio.timeout(5):
            assert (await api.run(url_event())).body == b"fine"


async def test_a_failed_start_tells_lambda_no_secrets(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    from starlette.applications import Starlette

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> Any:
        if app is not None:
            raise ValueError("redis://user:hunter2@host")
        yield

    async with serve(Starlette(lifespan=lifespan)) as api:
        assert "hunter2" not in json.dumps(api.init_errors)
        assert len(api.init_errors) == 1
    assert "hunter2" in caplog.text


async def test_a_response_beyond_lambdas_limit_is_reported(serve: Serve) -> None:
    async with serve(responding(b"x" * 600, b"y" * 600), response={"max_response_bytes": 1000}) as api:
        outcome = await api.run(url_event())
    assert outcome.body == b"x" * 600
    assert outcome.trailers["lambda-runtime-function-error-type"] == "Runtime.ResponseTooLarge"
    assert "1,000 bytes" in outcome.trailer_error["errorMessage"]


async def test_what_is_no_http_event_is_an_error_and_the_environment_goes_on(serve: Serve) -> None:
    events: list[Any] = [{}, [], None, 7, "x", b"{not json", b"[" * 100_000, {"version": "2.0"}, {"Records": []}]
    async with serve(responding(b"x")) as api:
        for event in events:
            outcome = await api.run(event)
            assert outcome.error_type == "Runtime.BadEvent"
        assert (await api.run(url_event())).body == b"x"


async def test_a_dead_idle_connection_is_replaced(serve: Serve) -> None:
    async with serve(responding(b"x")) as api:
        await api.run(url_event())
        async with asyncio.timeout(5):
            while not api.waiting:
                await asyncio.sleep(0.001)
        dead = list(api._tasks)
        for task in dead:
            task.cancel()
        # Else the event might be handed to a connection that is about to close.
        await asyncio.wait(dead)
        assert (await api.run(url_event())).body == b"x"


class Lifecycle:
    """An application that notes its lifespan."""

    def __init__(self, *, startup: str = "complete") -> None:
        self.seen: list[str] = []
        self._startup = startup

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope["state"]["count"].append(1)
            await responding(str(len(scope["state"]["count"])).encode())(scope, receive, send)
            return
        await receive()
        self.seen.append("startup")
        scope["state"]["count"] = []
        await send({"type": f"lifespan.startup.{self._startup}", "message": "no database"})
        if self._startup == "complete":
            await receive()
            self.seen.append("shutdown")
            await send({"type": "lifespan.shutdown.complete"})


async def test_the_lifespan_opens_once_is_shared_and_ends(serve: Serve) -> None:
    app = Lifecycle()
    async with serve(app) as api:
        bodies = [(await api.run(url_event())).body for _ in range(3)]
        assert app.seen == ["startup"]
    assert app.seen == ["startup", "shutdown"]
    assert bodies == [b"1", b"2", b"3"]


async def test_a_start_that_fails_is_an_init_error(serve: Serve) -> None:
    async with serve(Lifecycle(startup="failed")) as api:
        assert api.init_errors == [
            {"errorMessage": "The start failed; the log says why.", "errorType": "LifespanError", "stackTrace": []}
        ]
        assert api.polls == 0
    for target in ("no.such.module:app", "json:nothing", "json:__name__", "nonsense"):
        async with serve(target) as api:
            assert len(api.init_errors) == 1


async def test_log_lines_carry_their_invocation(serve: Serve) -> None:
    from headrace.lambda_runtime.logs import JsonFormatter

    lines: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(JsonFormatter().format(record)))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        try:
            raise ValueError("odd\nvalue")
        except ValueError:
            logging.getLogger("app").exception("said %s", "it", extra={"order": 7})
        await responding(b"x")(scope, receive, send)

    keep = Keep()
    logging.getLogger("app").addHandler(keep)
    with contextlib.ExitStack() as stack:
        stack.callback(logging.getLogger("app").removeHandler, keep)
        async with serve(app) as api:
            outcome: Outcome = await api.run(url_event())
    (line,) = lines
    assert line["requestId"] == outcome.request_id
    assert (line["message"], line["level"], line["order"], line["errorType"]) == ("said it", "ERROR", 7, "ValueError")
    assert "Traceback" in line["stackTrace"]
