"""Lambda's events become the requests that the client sent."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.lambda_runtime.context import InvocationContext
from headrace.lambda_runtime.events import BadEventError, read_event
from tests.lambda_runtime.conftest import serving
from tests.support.runtime_api import rest_event, url_event

CONTEXT = InvocationContext("r", 0)


def read(event: Any) -> tuple[dict[str, Any], bytes]:
    return read_event(event, CONTEXT)


def headers_of(scope: dict[str, Any], name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]


def test_a_function_urls_event_is_a_request() -> None:
    event = url_event("post", "/a/b", rawQueryString="x=1&x=2&y=%20", cookies=["a=1", "b=2"], body=b"\x00\xff")
    scope, body = read(event)
    assert body == b"\x00\xff"
    assert scope["method"] == "POST"
    assert (scope["path"], scope["raw_path"], scope["root_path"]) == ("/a/b", b"/a/b", "")
    assert scope["query_string"] == b"x=1&x=2&y=%20"
    assert headers_of(scope, b"cookie") == [b"a=1; b=2"]
    assert scope["client"] == ("203.0.113.7", 0)
    assert scope["server"] == ("abc.lambda-url.us-east-1.on.aws", 443)
    assert (scope["scheme"], scope["http_version"]) == ("https", "1.1")
    assert scope["aws.event"] is event
    assert scope["aws.context"] is CONTEXT
    assert scope["asgi"]["spec_version"] == "2.4"


@pytest.mark.parametrize(
    ("raw", "path", "kept"),
    [
        ("/a%2Fb/c%20d", "/a/b/c d", b"/a%2Fb/c%20d"),
        ("/%E4%BD%A0", "/你", b"/%E4%BD%A0"),
        ("/你 x", "/你 x", b"/%E4%BD%A0%20x"),
        ("/%ff", "/\ufffd", b"/%ff"),
        ("", "/", b"/"),
    ],
)
def test_percent_encoding_is_kept_in_raw_path(raw: str, path: str, kept: bytes) -> None:
    scope, _ = read(url_event(path=raw))
    assert (scope["path"], scope["raw_path"]) == (path, kept)


def test_a_stage_is_the_root_path() -> None:
    event = url_event(path="/dev/a")
    event["requestContext"]["stage"] = "dev"
    scope, _ = read(event)
    assert (scope["path"], scope["root_path"]) == ("/dev/a", "/dev")
    event["rawPath"] = "/device/a"
    assert read(event)[0]["root_path"] == ""
    scope, _ = read(rest_event(path="/a", stage="prod"))
    assert (scope["path"], scope["root_path"]) == ("/prod/a", "/prod")


def test_a_rest_apis_event_keeps_every_value() -> None:
    query = {"x": ["1", "2"], "y z": ["&=ü"]}
    scope, body = read(rest_event("PUT", "/a", multiValueQueryStringParameters=query, body="plain ü"))
    assert headers_of(scope, b"x-two") == [b"a", b"b"]
    assert parse_qsl(scope["query_string"].decode()) == [("x", "1"), ("x", "2"), ("y z", "&=ü")]
    assert body == "plain ü".encode()
    assert scope["client"] == ("203.0.113.9", 0)
    single = rest_event(multiValueHeaders=None, queryStringParameters={"q": "1"})
    assert read(single)[0]["query_string"] == b"q=1"
    assert headers_of(read(single)[0], b"host") == [b"x.execute-api.us-east-1.amazonaws.com"]


def test_an_http_apis_payload_1_is_read_too() -> None:
    scope, _ = read({**rest_event("GET", "/a"), "version": "1.0"})
    assert scope["path"] == "/prod/a"


@pytest.mark.parametrize(
    "change",
    [
        {"requestContext": None}, {"requestContext": {}}, {"headers": 7}, {"body": 7, "isBase64Encoded": True},
        {"body": "not base64!", "isBase64Encoded": True}, {"rawPath": None, "requestContext": {"http": 1}},
    ],
)  # fmt: skip
def test_a_malformed_event_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadEventError, match="payload format"):
        read({**url_event(), **change})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=12), children, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(list(url_event()) + list(rest_event()))


@given(json_values)
@settings(max_examples=500)
def test_any_json_is_read_or_refused_and_nothing_else(value: Any) -> None:
    with pytest.raises(BadEventError):
        read(value)


@given(st.sampled_from(["url", "rest"]), st.dictionaries(KEYS, json_values, max_size=4))
@settings(max_examples=1000)
def test_a_damaged_event_is_read_or_refused_and_nothing_else(kind: str, damage: dict[str, Any]) -> None:
    event = {**(url_event() if kind == "url" else rest_event()), **damage}
    try:
        scope, body = read(event)
    except BadEventError:
        return
    assert scope["raw_path"].isascii()
    assert isinstance(body, bytes)
    assert all(isinstance(part, bytes) for pair in scope["headers"] for part in pair)


@given(
    st.binary(max_size=2000),
    st.text(max_size=40),
    st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4),
)
@settings(max_examples=500)
def test_bodies_paths_and_headers_pass_unharmed(body: bytes, path: str, headers: dict[str, str]) -> None:
    encoded = quote(f"/{path}".encode("utf-8", "surrogatepass"))
    scope, received = read({**url_event("POST", encoded, body=body), "headers": headers})
    assert received == body
    assert scope["raw_path"] == encoded.encode()
    assert scope["path"] == f"/{path}".encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    assert len(scope["headers"]) == len(headers)


async def test_ten_thousand_random_bodies_and_chunkings_pass_through_unharmed() -> None:
    """Each body goes in base64, and comes back in chunks cut at random, byte for byte."""
    import random

    generator = random.Random(7)

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-size", str(len(body)).encode())]})
        place = 0
        while place < len(body):
            size = generator.randrange(0, 300)
            await send({"type": "http.response.body", "body": body[place : place + size], "more_body": True})
            place += size
        await send({"type": "http.response.body", "body": b""})

    async with serving(echo) as api:
        for _ in range(10_000):
            body = generator.randbytes(generator.randrange(0, 700))
            outcome = await api.run(url_event("POST", body=body))
            assert outcome.body == body
            assert outcome.prelude["headers"]["x-size"] == str(len(body))
            assert b"" not in outcome.body_chunks, "an empty chunk would end the stream"


def test_base64_is_read_strictly_and_text_as_utf_8() -> None:
    text = json.dumps({"q": "ü"})
    plain = {**url_event("POST"), "body": text, "isBase64Encoded": False}
    assert read(plain)[1] == text.encode()
    packed = {**plain, "body": base64.b64encode(text.encode()).decode(), "isBase64Encoded": True}
    assert read(packed)[1] == text.encode()
