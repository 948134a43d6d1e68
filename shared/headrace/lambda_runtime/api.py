"""The Runtime API over HTTP/1.1: a keep-alive connection for `/next`, and one connection a streamed response.

Sources: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html,
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

VERSION = "2018-06-01"
# Small: what a slow reader has not taken must press back on the application.
WRITE_BUFFER_BYTES = 64 * 1024
MAX_HEADER_BYTES = 128 * 1024
ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
ERROR_BODY = "Lambda-Runtime-Function-Error-Body"


class RuntimeApiError(Exception):
    """The Runtime API answered with what it should not, or is gone: the environment can't go on."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the Runtime API; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def error_payload(kind: str, message: str) -> bytes:
    """An error as the Runtime API takes it. The stack trace goes to the log, never to a caller."""
    return json.dumps({"errorMessage": message, "errorType": kind, "stackTrace": []}).encode()


class RuntimeApi:
    """The Runtime API at `address` (host:port), for one poller."""

    def __init__(self, address: str) -> None:
        self._address = address
        host, _, port = address.rpartition(":")
        self._host = host or address
        self._port = int(port) if host else 80
        self._connection: Connection | None = None
        self._spare: Connection | None = None

    async def next(self) -> Answer:
        """The next invocation; waits for as long as there is none. Raises RuntimeApiError."""
        return await self._call("GET", "/runtime/invocation/next", expected=200)

    async def restore_next(self) -> None:
        """Be ready for the snapshot; returns in the restored copy. Raises RuntimeApiError."""
        await self._call("GET", "/runtime/restore/next", expected=200)

    async def init_error(self, kind: str, message: str) -> None:
        """Say that the start failed."""
        await self._report("/runtime/init/error", kind, message)

    async def restore_error(self, kind: str, message: str) -> None:
        """Say that the hooks after a restore failed."""
        await self._report("/runtime/restore/error", kind, message)

    async def invocation_error(self, request_id: str, kind: str, message: str, extra: Mapping[str, str]) -> None:
        """Say that an invocation failed before its response began."""
        await self._report(f"/runtime/invocation/{request_id}/error", kind, message, extra)

    async def respond(self, request_id: str, payload: bytes, extra: Mapping[str, str]) -> None:
        """Answer an invocation with a whole payload. Raises RuntimeApiError."""
        headers = {"Content-Type": "application/json", **extra}
        await self._call(
            "POST", f"/runtime/invocation/{request_id}/response", headers=headers, body=payload, expected=202
        )

    async def prepare_response(self) -> None:
        """Connect for the next response now, while there is nothing else to do."""
        if self._spare is None:
            with contextlib.suppress(OSError):
                self._spare = await self._connect()

    async def open_response(self, request_id: str, extra: Mapping[str, str]) -> StreamedResponse:
        """Take the prepared connection, or a new one; nothing is said before the response's first piece."""
        reader, writer = await self._take_spare() or await self._connect()
        headers = {
            "Host": self._address,
            "Content-Type": "application/vnd.awslambda.http-integration-response",
            "Lambda-Runtime-Function-Response-Mode": "streaming",
            "Transfer-Encoding": "chunked",
            "Trailer": f"{ERROR_TYPE}, {ERROR_BODY}",
            "Connection": "close",
            **extra,
        }
        head = _head("POST", f"/runtime/invocation/{request_id}/response", headers)
        return StreamedResponse(reader, writer, head)

    async def aclose(self) -> None:
        """Close what is open."""
        await self._hang_up()
        spare, self._spare = self._spare, None
        if spare is not None:
            await _close(spare[1])

    async def _take_spare(self) -> Connection | None:
        spare, self._spare = self._spare, None
        if spare is not None and (spare[0].at_eof() or spare[1].is_closing()):
            await _close(spare[1])
            return None
        return spare

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await _close(connection[1])

    async def _report(self, path: str, kind: str, message: str, extra: Mapping[str, str] | None = None) -> None:
        headers = {"Content-Type": "application/vnd.aws.lambda.error+json", ERROR_TYPE: kind, **(extra or {})}
        await self._call("POST", path, headers=headers, body=error_payload(kind, message), expected=202)

    async def _call(
        self, method: str, path: str, *, expected: int, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        sized = {"Content-Length": str(len(body))} if method == "POST" else {}
        request = _head(method, path, {"Host": self._address, **(headers or {}), **sized}) + body
        answer = await self._exchange(request)
        if answer.status != expected:
            raise RuntimeApiError(f"{method} {path} answered {answer.status}: {answer.body[:200]!r}")
        return answer

    async def _exchange(self, request: bytes) -> Answer:
        reused = self._connection is not None
        try:
            return await self._send(request)
        except (OSError, asyncio.IncompleteReadError) as error:
            if not reused:
                raise RuntimeApiError(f"the Runtime API at {self._address} is gone ({type(error).__name__})") from error
        # A connection that was idle while the environment was frozen may be dead: once more, on a new one.
        return await self._exchange(request)

    async def _send(self, request: bytes) -> Answer:
        if self._connection is None:
            self._connection = await self._connect()
        reader, writer = self._connection
        try:
            writer.write(request)
            await writer.drain()
            answer = await read_answer(reader)
        except BaseException:
            await self._hang_up()
            raise
        if answer.headers.get("connection", "").lower() == "close":
            await self._hang_up()
        return answer

    async def _connect(self) -> Connection:
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=MAX_HEADER_BYTES)
        writer.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        writer.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        return reader, writer


class WholeResponse:
    """A response for who takes no stream: collected, and sent at its end as a proxy integration's JSON."""

    def __init__(self, api: RuntimeApi, request_id: str, extra: Mapping[str, str]) -> None:
        self._api = api
        self._request_id = request_id
        self._extra = extra
        self._prelude = b"{}"
        self._body = bytearray()

    def begin(self, prelude: bytes, *_: bytes) -> None:
        """Keep the status and the headers."""
        self._prelude = prelude

    async def write(self, *pieces: bytes) -> None:
        """Keep pieces of the body."""
        self._body += b"".join(pieces)

    async def end(self, *pieces: bytes) -> None:
        """Send the whole. Raises RuntimeApiError."""
        await self.write(*pieces)
        # A WebSocket API takes format 1.0, which knows no other keys.
        given = json.loads(self._prelude)
        payload = {"statusCode": given["statusCode"], "headers": given["headers"], "isBase64Encoded": False}
        payload["body"] = self._body.decode("utf-8", "replace")
        await self._api.respond(self._request_id, json.dumps(payload).encode(), self._extra)

    async def fail(self, kind: str, message: str) -> None:
        """Say that it failed."""
        await self._api.invocation_error(self._request_id, kind, message, self._extra)

    async def abandon(self) -> None:
        """Nothing was sent."""


class StreamedResponse:
    """A response under way. Pieces are sent at once; `write` waits while the reader has too much unread."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self._reader = reader
        self._writer = writer
        # What goes out with the next write. Until the first, this is a mere connection, which may be dropped.
        self._held = head

    def begin(self, *pieces: bytes) -> None:
        """Send the first pieces when the application next pauses, or with what it sends before that."""
        self._held += _chunks(pieces)
        asyncio.get_running_loop().call_soon(self._flush)

    async def write(self, *pieces: bytes) -> None:
        """Send each piece as a chunk of its own. Raises OSError when Lambda has closed the stream."""
        if self._reader.at_eof():
            raise ConnectionResetError("Lambda closed the response stream")
        self._held += _chunks(pieces)
        self._flush()
        await self._writer.drain()

    async def end(self, *pieces: bytes) -> None:
        """Send the last pieces and wait until Lambda has taken the whole. Raises RuntimeApiError."""
        await self._finish(_chunks(pieces) + b"0\r\n\r\n")

    async def fail(self, kind: str, message: str) -> None:
        """End the response with the error in its trailers."""
        body = base64.b64encode(error_payload(kind, message)).decode("ascii")
        await self._finish(f"0\r\n{ERROR_TYPE}: {kind}\r\n{ERROR_BODY}: {body}\r\n\r\n".encode())

    async def abandon(self) -> None:
        """Close without an end, so that nobody takes what was sent for a whole response."""
        self._writer.transport.abort()
        await _close(self._writer)

    def _flush(self) -> None:
        held, self._held = self._held, b""
        if held and not self._writer.is_closing():
            self._writer.write(held)

    async def _finish(self, last: bytes) -> None:
        try:
            self._held += last
            self._flush()
            await self._writer.drain()
            answer = await read_answer(self._reader)
        except (OSError, asyncio.IncompleteReadError) as error:
            await self.abandon()
            raise RuntimeApiError(f"the response stream was cut ({type(error).__name__})") from error
        except BaseException:
            # Closing in order would wait for a reader that takes nothing any more.
            await self.abandon()
            raise
        await _close(self._writer)
        if answer.status != 202:
            raise RuntimeApiError(f"the response was answered with {answer.status}: {answer.body[:200]!r}")


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read one HTTP answer. Raises IncompleteReadError or OSError when the connection ends in it."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status_line, *lines = head[:-4].split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = await _read_chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(status_line.split(" ", 2)[1]), headers, body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size == 0:
            while (await reader.readuntil(b"\r\n")) != b"\r\n":
                pass
            return body
        body += (await reader.readexactly(size + 2))[:-2]


def _chunks(pieces: Iterable[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def _head(method: str, path: str, headers: Mapping[str, Any]) -> bytes:
    lines = [f"{method} /{VERSION}{path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
