"""A small server that speaks OpenAI's API for real: it streams at a set pace and fails in every way a real one does.

`/models`, `/chat/completions` (streamed and whole) and `/embeddings` (floats
and base64). What it answers is set on its `Script`. Its shapes are held
against the official SDK's own types in tests/contract/test_openai_server.py.
Reference: https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import math
import random
import secrets
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

# How a call may fail: before the first byte with a status, or in the middle of the stream.
SILENT_SECONDS = 0.05
STATUS_FAILURES = {"unauthorized": 401, "not_found": 404, "rate_limited": 429, "broken": 500, "overloaded": 503}
STREAM_FAILURES = ("cut", "no_finish_reason", "error_event", "garbage")
# Or it goes on for ever and says nothing: comments, or chunks with nothing in them.
SILENT_FAILURES = ("comments", "empty_chunks")
# Or it fails before its first word, in a stream that has begun.
EARLY_FAILURES = ("error_first", "nothing")


@dataclass
class Script:
    """What the server does. `fail` lists failures, used up one a call; `reply` makes the text from the last message."""

    reply: Callable[[str], str] = lambda prompt: "Hello from the model [1]."
    first_token_seconds: float = 0.0
    token_gap_seconds: float = 0.0
    fail: list[str] = field(default_factory=list)
    api_key: str | None = None
    dimensions: int = 32
    finish_reason: str = "stop"
    token_limit_field: str | None = None
    refused_text: str | None = None
    broken_text: str | None = None
    uneven: bool = False
    authorizations: list[str] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    open_streams: int = 0
    # What a request gets that asks for one of some options by a JSON schema, how long it takes, and its tokens.
    choose: Callable[[str], str] = lambda prompt: "none"
    choose_seconds: float = 0.0
    # What it reads a message as that it is to interpret: the JSON object that it writes.
    read: Callable[[str], dict[str, str]] = lambda prompt: {"kind": "documents", "question": ""}
    # A tool that the model calls instead of answering: its name, and its arguments as JSON.
    tool_call: tuple[str, str] | None = None
    # What it does where it may call tools: a text, or calls, each a name and its arguments as JSON. It gets the request.
    # A pair is a text and then calls.
    act: Callable[[dict[str, Any]], Any] | None = None
    refused_fields: set[str] = field(default_factory=set)
    lists_models: bool = True
    # What it refuses every request with, and with which status.
    refusal: str = ""
    # The value that it answers with where an answer of a form is asked for; None: that there is none.
    structured: Callable[[str], Any] = lambda prompt: None
    # The value that it writes where a schema of that name is asked for.
    forms: dict[str, Callable[[str], Any]] = field(default_factory=dict)
    # What it writes wherever a schema is asked for, whatever the schema says.
    constrained: str | None = None
    refusal_status: int = 400

    def choices(self) -> list[dict[str, Any]]:
        """The requests that asked for a choice."""
        return [request for request in self.requests if "response_format" in request]

    def answers(self) -> list[dict[str, Any]]:
        """The requests that asked for an answer."""
        return [request for request in self.requests if "messages" in request and "response_format" not in request]


def openai_app(script: Script) -> Starlette:
    """The server's ASGI application."""

    async def models(request: Request) -> Response:
        refused = _refused(script, request)
        if not script.lists_models:
            return _error(404, "Not Found", "not_found")
        entry = {"id": "test-model", "object": "model", "created": 1, "owned_by": "test"}
        return refused or JSONResponse({"object": "list", "data": [entry]})

    async def chat(request: Request) -> Response:
        body = await request.json()
        script.requests.append(body)
        failure = script.fail.pop(0) if script.fail else None
        refused = _refused(script, request) or _failed(failure) or _unsupported(script, body)
        if script.refusal:
            refused = _error(script.refusal_status, script.refusal, "invalid_request_error")
        if refused:
            return refused
        if not body.get("stream"):
            return JSONResponse(_whole(body, script.reply(_prompt(body))))
        return StreamingResponse(_stream(script, body, failure), media_type="text/event-stream")

    async def embeddings(request: Request) -> Response:
        body = await request.json()
        script.requests.append(body)
        script.authorizations.append(request.headers.get("authorization", ""))
        failure = script.fail.pop(0) if script.fail else None
        refused = _refused(script, request) or _failed(failure)
        if script.refused_text is not None and script.refused_text in body["input"]:
            refused = _error(400, "This input can't be embedded.", "invalid_input", "input")
        if script.broken_text is not None and script.broken_text in str(body["input"]):
            refused = _error(503, "The model is overloaded.", "overloaded")
        return refused or JSONResponse(_embeddings(script, body))

    routes = [
        Route("/v1/models", models),
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/embeddings", embeddings, methods=["POST"]),
    ]
    return Starlette(routes=routes)


def _error(status: int, message: str, code: str, param: str | None = None) -> JSONResponse:
    headers = {"retry-after": "0"} if status == 429 else None
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return JSONResponse({"error": error}, status_code=status, headers=headers)


def _refused(script: Script, request: Request) -> Response | None:
    if script.api_key and request.headers.get("authorization") != f"Bearer {script.api_key}":
        return _error(401, "Incorrect API key provided.", "invalid_api_key")
    return None


def _failed(failure: str | None) -> Response | None:
    if failure in STATUS_FAILURES:
        return _error(STATUS_FAILURES[failure], f"The server was told to be {failure}.", failure)
    return None


def _unsupported(script: Script, body: dict[str, Any]) -> Response | None:
    other = {"max_tokens", "max_completion_tokens"} - {script.token_limit_field} if script.token_limit_field else set()
    wrong = next(iter((other | script.refused_fields) & set(body)), None)
    return _error(400, f"Unsupported parameter: '{wrong}'.", "unsupported_parameter", wrong) if wrong else None


def _tokens(text: str) -> list[str]:
    words = text.split(" ")
    return [word if i == 0 else f" {word}" for i, word in enumerate(words)]


def _usage(body: dict[str, Any], text: str) -> dict[str, int]:
    prompt = sum(len(str(m["content"]).split()) for m in body["messages"])
    written = len(_tokens(text))
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}


async def _stream(script: Script, body: dict[str, Any], failure: str | None) -> AsyncIterator[bytes]:
    script.open_streams += 1
    try:
        asks_for_choice = "response_format" in body
        act = script.act(body) if script.act is not None and not asks_for_choice else None
        text = _constrained(script, body) if asks_for_choice else script.reply(_prompt(body))
        text = act if isinstance(act, str) else text
        tokens = _tokens(text)
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}

        def chunk(delta: dict[str, Any] | None, reason: str | None = None, **extra: Any) -> bytes:
            choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
            return f"data: {json.dumps({**head, 'choices': choices, **extra})}\n\n".encode()

        yield chunk({"role": "assistant", "content": ""})
        await asyncio.sleep(script.choose_seconds if asks_for_choice else script.first_token_seconds)
        while failure in SILENT_FAILURES:
            yield b": ping\n\n" if failure == "comments" else chunk({})
            await asyncio.sleep(SILENT_SECONDS)
        if failure == "error_first":
            yield b'data: {"error": {"message": "upstream overloaded", "type": "server_error"}}\n\n'
            return
        if failure == "nothing":
            yield chunk({}, "stop")
            yield b"data: [DONE]\n\n"
            return
        calls = [script.tool_call] if script.tool_call is not None else act
        if isinstance(calls, tuple):
            text, calls = calls
            for token in _tokens(text):
                yield chunk({"content": token})
        if isinstance(calls, list):
            for index, (name, arguments) in enumerate(calls):
                for call in _call_deltas(index, name, arguments):
                    yield chunk({"tool_calls": [call]})
            yield chunk({}, "tool_calls" if script.finish_reason == "stop" else script.finish_reason)
            yield chunk(None, usage=_usage(body, ""))
            yield b"data: [DONE]\n\n"
            return
        for position, token in enumerate(tokens):
            if position == len(tokens) // 2:
                if failure == "cut":
                    raise ConnectionAbortedError("told to cut the connection")
                if failure == "error_event":
                    yield b'data: {"error": {"message": "upstream overloaded", "type": "server_error"}}\n\n'
                    return
                if failure == "garbage":
                    yield b"data: {not json\n\n"
            yield chunk({"content": token})
            await asyncio.sleep(script.token_gap_seconds)
        if failure == "no_finish_reason":
            return
        yield chunk({}, script.finish_reason)
        if (body.get("stream_options") or {}).get("include_usage"):
            yield chunk(None, usage=_usage(body, text))
        yield b"data: [DONE]\n\n"
    finally:
        script.open_streams -= 1


def _constrained(script: Script, body: dict[str, Any]) -> str:
    """What it writes where a schema is asked for: a choice, or what it reads a message as."""
    if script.constrained is not None:
        return script.constrained
    asked = body["response_format"]["json_schema"]
    schema = asked["schema"]
    if asked.get("name") in script.forms:
        return json.dumps(script.forms[asked["name"]](_prompt(body)), ensure_ascii=False)
    if "found" in schema["properties"]:
        answer = script.structured(_prompt(body))
        return json.dumps({"found": answer is not None, "answer": answer}, ensure_ascii=False)
    if "kind" in schema["properties"]:
        return json.dumps(script.read(_prompt(body)), ensure_ascii=False)
    return json.dumps({"choice": script.choose(_prompt(body))})


def _prompt(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def _call_deltas(index: int, name: str, arguments: str) -> list[dict[str, Any]]:
    function = {"name": name, "arguments": ""}
    first = {"index": index, "id": f"call_{secrets.token_hex(4)}", "type": "function", "function": function}
    pieces = [arguments[start : start + 4] for start in range(0, len(arguments), 4)]
    return [first, *({"index": index, "function": {"arguments": piece}} for piece in pieces)]


def _whole(body: dict[str, Any], text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": _usage(body, text),
    }


def _embeddings(script: Script, body: dict[str, Any]) -> dict[str, Any]:
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    data = []
    for index, text in enumerate(texts):
        vector = bag_of_words(text, script.dimensions - (index if script.uneven else 0))
        packed = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        value = packed if body.get("encoding_format") == "base64" else vector
        data.append({"object": "embedding", "index": index, "embedding": value})
    return {
        "object": "list",
        "data": data[::-1],
        "model": body["model"],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }


def bag_of_words(text: str, dimensions: int) -> list[float]:
    """A crude embedding in which texts that share words are near: each word adds a random direction of its own."""
    total = [1e-6] * dimensions
    for word in text.lower().split():
        direction = random.Random(hashlib.sha256(word.strip(".,?!").encode()).digest())
        total = [x + direction.gauss(0, 1) for x in total]
    length = math.sqrt(sum(x * x for x in total))
    return [3.0 * x / length for x in total]


def slow_app() -> Starlette:
    """A server that writes a word every 50 ms, and has no embedding for a text with the word `unembeddable` in it."""
    return openai_app(
        Script(
            reply=lambda _: "It is as the document says, in one or two words more [1].",
            token_gap_seconds=0.05,
            broken_text="unembeddable",
        )
    )
