"""A language model and an embedding model for load: OpenAI's API by hand, so that it takes next to no processor time.

Its first token comes after 300 ms, then 49 more, 20 ms apart. Vectors depend on the text and come at once.

    python -m tests.bench.load.model_server PORT
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import struct
import sys

FIRST_TOKEN_SECONDS = 0.3
GAP_SECONDS = 0.02
TOKENS = 50
DIMENSIONS = 384
# What all vectors share; the rest varies with a standard deviation of 74.
ALIKE = 74.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n"
CHUNK = '{"id":"c","object":"chat.completion.chunk","created":1780000000,"model":"m","system_fingerprint":"f","choices":[%s],"usage":%s}'


def _piece(data: str) -> bytes:
    event = f"data: {data}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(event), event)


def _choice(delta: str, finish_reason: str = "null") -> str:
    return f'{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish_reason}}}'


ROLE = _piece(CHUNK % (_choice('{"role":"assistant","content":""}'), "null"))
WORDS = [_piece(CHUNK % (_choice(f'{{"content":"word{n} "}}'), "null")) for n in range(TOKENS - 1)]
LAST = (
    _piece(CHUNK % (_choice('{"content":"so [1]."}'), "null"))
    + _piece(CHUNK % (_choice("{}", '"stop"'), "null"))
    + _piece(CHUNK % ("", '{"prompt_tokens":900,"completion_tokens":50,"total_tokens":950}'))
    + _piece("[DONE]")
    + b"0\r\n\r\n"
)
MODELS = json.dumps(
    {"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "x"}]}
).encode()


class Server(asyncio.Protocol):
    """One connection, kept open between requests."""

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        del error

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        self._answer(head.split(b" ", 2)[1], rest[:length])

    def _answer(self, path: bytes, body: bytes) -> None:
        if path.endswith(b"/chat/completions"):
            self._write(HEAD % b"text/event-stream" + b"Transfer-Encoding: chunked\r\n\r\n")
            loop = asyncio.get_running_loop()
            self._at = loop.time() + FIRST_TOKEN_SECONDS
            loop.call_at(self._at, self._token, 0)
        elif path.endswith(b"/embeddings"):
            self._whole(_embeddings(json.loads(body)))
        else:
            self._whole(MODELS)

    def _token(self, number: int) -> None:
        if number == TOKENS - 1:
            self._write(LAST)
            return
        self._write(ROLE + WORDS[0] if number == 0 else WORDS[number])
        self._at += GAP_SECONDS
        asyncio.get_running_loop().call_at(self._at, self._token, number + 1)

    def _whole(self, body: bytes) -> None:
        self._write(HEAD % b"application/json" + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)  # type: ignore[attr-defined]


def vector_of(text: str) -> list[float]:
    """A unit vector that depends on the text alone. Any two have a cosine of about 0.5: related, but not the same question."""
    seed = hashlib.shake_128(text.encode()).digest(DIMENSIONS)
    values = [byte - 127.5 + ALIKE for byte in seed]
    length = sum(value * value for value in values) ** 0.5
    return [value / length for value in values]


def _embeddings(asked: dict[str, object]) -> bytes:
    given = asked["input"]
    texts = given if isinstance(given, list) else [given]
    vectors: list[object] = [vector_of(str(text)) for text in texts]
    if asked.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *vector)).decode() for vector in vectors]  # type: ignore[misc]
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    usage = {"prompt_tokens": 9, "total_tokens": 9}
    return json.dumps({"object": "list", "model": "e", "data": data, "usage": usage}).encode()


async def serve(port: int) -> None:
    """Serve for ever."""
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", port, backlog=1000)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
