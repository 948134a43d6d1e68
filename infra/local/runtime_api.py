"""A strict stand-in for Lambda's Runtime API: it parses every byte of framing itself and notes each broken rule.

Invocations are queued with `invoke`; the outcome has the prelude, each chunk
with its time of arrival, the trailers or the error. A response is answered
with 202 only after its whole stream. The local front door and the tests use
the same one. Sources: see headrace.lambda_runtime.api.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

PREFIX = "/2018-06-01/runtime"
INTEGRATION = "application/vnd.awslambda.http-integration-response"
PRELUDE_LIMIT = 16 * 1024
RUN_MARGIN_SECONDS = 30.0


@dataclass
class Outcome:
    """What the runtime made of one invocation.

    A buffered answer is in `payload`. With a `sink`, chunks go there one by one,
    each awaited, and are not kept.
    """

    request_id: str
    event: Any
    timeout_seconds: float
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    trailers: dict[str, str] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    error_type: str = ""
    cut: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)
    started_at: float = 0.0
    taken_at: float = 0.0
    answered_at: float = 0.0
    read_delay_seconds: float = 0.0
    payload: bytes | None = None
    sink: Callable[[bytes], Awaitable[None]] | None = None

    @property
    def prelude(self) -> dict[str, Any]:
        prelude: dict[str, Any] = json.loads(self.chunks[0][1])
        return prelude

    @property
    def body_chunks(self) -> list[bytes]:
        """The body as it came, without prelude and delimiter."""
        return [chunk for _, chunk in self.chunks[2:]]

    @property
    def body(self) -> bytes:
        return b"".join(self.body_chunks)

    @property
    def trailer_error(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(base64.b64decode(self.trailers["lambda-runtime-function-error-body"]))
        return body


class RuntimeApiServer:
    """The server. `violations` lists what no correct runtime does."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.init_errors: list[dict[str, Any]] = []
        self.restore_errors: list[dict[str, Any]] = []
        self.restore_asked = asyncio.Event()
        self.restore = asyncio.Event()
        self.polls = 0
        self.waiting = 0
        self.ready = asyncio.Event()
        self.address = ""
        self._queue: asyncio.Queue[Outcome] = asyncio.Queue()
        self._taken: dict[str, Outcome] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def invoke(
        self, event: Any, *, timeout_seconds: float = 30.0, headers: Mapping[str, str] | None = None,
        read_delay_seconds: float = 0.0, sink: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> Outcome:  # fmt: skip
        """Queue an invocation; `event` is sent as JSON, or as it is when it is bytes."""
        request_id = str(uuid.uuid4())
        outcome = Outcome(request_id, event, timeout_seconds, read_delay_seconds=read_delay_seconds, sink=sink)
        outcome.headers = {"Lambda-Runtime-Trace-Id": f"Root=1-{request_id[:8]}", **(headers or {})}
        outcome.started_at = time.perf_counter()
        self._queue.put_nowait(outcome)
        return outcome

    async def run(self, event: Any, **options: Any) -> Outcome:
        """Invoke and wait for the end."""
        outcome = self.invoke(event, **options)
        async with asyncio.timeout(outcome.timeout_seconds + RUN_MARGIN_SECONDS):
            await outcome.done.wait()
        return outcome

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[RuntimeApiServer]:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, limit=1 << 20)
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._tasks.add(task)
        try:
            while await self._request(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head[:-4].split("\r\n")
        method, path, version = line.split(" ")
        headers = {name.lower(): value for name, _, value in (entry.partition(": ") for entry in lines)}
        if version != "HTTP/1.1" or "host" not in headers:
            self.violations.append(f"not HTTP/1.1 with a host: {line}")
        match method, path.removeprefix(PREFIX).split("/")[1:]:
            case "GET", ["invocation", "next"]:
                await self._next(reader, writer)
            case "GET", ["restore", "next"]:
                self.restore_asked.set()
                await self.restore.wait()
                await self._answer(writer, 200)
            case "POST", ["invocation", request_id, "response"]:
                streamed = "transfer-encoding" in headers
                if streamed:
                    await self._response(reader, headers, request_id)
                else:
                    size = int(headers.get("content-length", "0"))
                    self._of(request_id).payload = await reader.readexactly(size)
                await self._answer(writer, 202)
                self._finish(request_id)
            case "POST", ["invocation", request_id, "error"]:
                outcome = self._of(request_id)
                if outcome.chunks:
                    self.violations.append("/error after the response began")
                outcome.error = await self._error(reader, headers)
                outcome.error_type = headers.get("lambda-runtime-function-error-type", "")
                self._check_echo(outcome, headers)
                await self._answer(writer, 202)
                self._finish(request_id)
            case "POST", ["init", "error"]:
                self.init_errors.append(await self._error(reader, headers))
                await self._answer(writer, 202)
            case "POST", ["restore", "error"]:
                self.restore_errors.append(await self._error(reader, headers))
                await self._answer(writer, 202)
            case _:
                self.violations.append(f"no such call: {line}")
                await self._answer(writer, 404)
        return headers.get("connection", "").lower() != "close"

    async def _next(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.polls += 1
        self.waiting += 1
        self.ready.set()
        getting = asyncio.ensure_future(self._queue.get())
        leaving = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({getting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.waiting -= 1
            leaving.cancel()
            # A poller that is gone must not take an invocation with it.
            if not getting.done():
                getting.cancel()
        if getting.cancelled() or not getting.done():
            raise ConnectionAbortedError
        outcome = getting.result()
        # Let go of the reader before anybody else reads from it.
        await asyncio.wait({leaving})
        self._taken[outcome.request_id] = outcome
        deadline = int((time.time() + outcome.timeout_seconds) * 1000)
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": outcome.request_id,
            "Lambda-Runtime-Deadline-Ms": str(deadline),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:000000000000:function:test",
            **outcome.headers,
        }
        body = outcome.event if isinstance(outcome.event, bytes) else json.dumps(outcome.event).encode()
        outcome.taken_at = time.perf_counter()
        await self._answer(writer, 200, headers, body)

    async def _response(self, reader: asyncio.StreamReader, headers: dict[str, str], request_id: str) -> None:
        outcome = self._of(request_id)
        self._check_echo(outcome, headers)
        for name, value in (
            ("lambda-runtime-function-response-mode", "streaming"),
            ("transfer-encoding", "chunked"),
            ("content-type", INTEGRATION),
            ("connection", "close"),
        ):
            if headers.get(name) != value:
                self.violations.append(f"{name} is {headers.get(name)!r}")
        if "content-length" in headers:
            self.violations.append("both chunked and sized")
        try:
            await self._chunks(reader, outcome, headers)
        except (asyncio.IncompleteReadError, ConnectionError):
            outcome.cut = True
            self._finish(request_id)
            raise
        # Reading would wait for the runtime, which waits for our answer: look at what has come.
        if reader._buffer:  # type: ignore[attr-defined] # noqa: SLF001
            self.violations.append("bytes after the end of the stream")

    async def _chunks(self, reader: asyncio.StreamReader, outcome: Outcome, headers: dict[str, str]) -> None:
        while True:
            size = int((await reader.readuntil(b"\r\n"))[:-2], 16)
            if size == 0:
                break
            chunk = await reader.readexactly(size)
            if await reader.readexactly(2) != b"\r\n":
                self.violations.append("a chunk without its end")
            outcome.arrived.set()
            if outcome.sink is not None:
                await outcome.sink(chunk)
                continue
            outcome.chunks.append((time.perf_counter(), chunk))
            if outcome.read_delay_seconds:
                await asyncio.sleep(outcome.read_delay_seconds)
        while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
            name, _, value = line[:-2].decode().partition(": ")
            if name.lower() not in headers.get("trailer", "").lower():
                self.violations.append(f"the trailer {name} was not announced")
            outcome.trailers[name.lower()] = value
        if outcome.sink is None:
            self._check_prelude(outcome)

    def _check_prelude(self, outcome: Outcome) -> None:
        if len(outcome.chunks) < 2 or outcome.chunks[1][1] != bytes(8):
            self.violations.append("no prelude and delimiter as two chunks")
            return
        if set(outcome.prelude) != {"statusCode", "headers", "cookies"} or not isinstance(
            outcome.prelude["statusCode"], int
        ):
            self.violations.append(f"a wrong prelude: {outcome.prelude}")
        if len(outcome.chunks[0][1]) + 8 > PRELUDE_LIMIT:
            self.violations.append("the delimiter is beyond the first 16 KB")

    def _check_echo(self, outcome: Outcome, headers: dict[str, str]) -> None:
        wanted = outcome.headers.get("Lambda-Runtime-Invocation-Id")
        if headers.get("lambda-runtime-invocation-id") != wanted:
            self.violations.append("the invocation id was not echoed")

    async def _error(self, reader: asyncio.StreamReader, headers: dict[str, str]) -> dict[str, Any]:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        error: dict[str, Any] = json.loads(body)
        if not set(error) >= {"errorMessage", "errorType", "stackTrace"}:
            self.violations.append(f"a wrong error: {error}")
        if headers.get("content-type") != "application/vnd.aws.lambda.error+json":
            self.violations.append("a wrong content type for an error")
        return error

    def _of(self, request_id: str) -> Outcome:
        if request_id not in self._taken:
            self.violations.append("an answer to no invocation, or a second one to one")
        return self._taken.setdefault(request_id, Outcome(request_id, None, 0.0))

    def _finish(self, request_id: str) -> None:
        outcome = self._taken.pop(request_id)
        outcome.answered_at = time.perf_counter()
        outcome.done.set()

    async def _answer(
        self, writer: asyncio.StreamWriter, status: int, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> None:
        lines = [
            f"HTTP/1.1 {status} X",
            *(f"{k}: {v}" for k, v in (headers or {}).items()),
            f"Content-Length: {len(body)}",
        ]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)
        await writer.drain()
