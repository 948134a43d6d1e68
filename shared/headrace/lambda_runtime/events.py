"""Lambda's HTTP events to ASGI: function URLs and HTTP APIs (payload 2.0), REST APIs and HTTP APIs (payload 1.0).

An event of a WebSocket API becomes a POST to `/ws/connect`, `/ws/message` or `/ws/disconnect`.

Sources: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads,
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html,
https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-route-keys-connect-disconnect.html,
https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlencode

from headrace.lambda_runtime.context import InvocationContext

Scope = dict[str, Any]
SOCKET_STEPS = {"CONNECT": "connect", "MESSAGE": "message", "DISCONNECT": "disconnect"}
# What may stand in a path as it is; a percent sign begins an escape that is kept.
_PATH_SAFE = "/%:@!$&'()*+,;=-._~"


class BadEventError(ValueError):
    """The event is no HTTP request: something else invoked the function."""


def read_event(event: Any, context: InvocationContext) -> tuple[Scope, bytes]:
    """The ASGI scope and the body of the request that an event carries. Raises BadEventError."""
    try:
        read = _read_socket if is_socket(event) else _read_v2 if event.get("version") == "2.0" else _read_v1
        scope = read(event)
        body = _body(event)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadEventError(
            "The event is not an HTTP request from a function URL or API Gateway. "
            "Invoke the function through its URL, or send an event in payload format 2.0."
        ) from error
    scope["aws.event"] = event
    scope["aws.context"] = context
    return scope, body


def is_socket(event: Any) -> bool:
    """Whether an event is of a WebSocket API, which takes a whole response and no stream."""
    request = event.get("requestContext") if isinstance(event, Mapping) else None
    return isinstance(request, Mapping) and "connectionId" in request


def _read_socket(event: Mapping[str, Any]) -> Scope:
    request = event["requestContext"]
    return _scope(
        method="POST",
        path=f"/ws/{SOCKET_STEPS[request['eventType']]}",
        root_path="",
        query=urlencode(_pairs(event.get("multiValueQueryStringParameters"), event.get("queryStringParameters"))),
        headers=_pairs(event.get("multiValueHeaders"), event.get("headers")),
        client=str((request.get("identity") or {}).get("sourceIp") or ""),
        protocol="",
    )


def _read_v2(event: Mapping[str, Any]) -> Scope:
    request = event["requestContext"]
    http = request["http"]
    headers = [(str(name), str(value)) for name, value in (event.get("headers") or {}).items()]
    cookies = event.get("cookies") or []
    if cookies:
        headers = [(name, value) for name, value in headers if name.lower() != "cookie"]
        headers.append(("cookie", "; ".join(map(str, cookies))))
    path = str(event["rawPath"])
    stage = str(request.get("stage") or "$default")
    prefix = f"/{stage}"
    inside = stage != "$default" and (path == prefix or path.startswith(f"{prefix}/"))
    return _scope(
        method=str(http["method"]),
        path=path,
        root_path=prefix if inside else "",
        query=str(event.get("rawQueryString") or ""),
        headers=headers,
        client=str(http.get("sourceIp") or ""),
        protocol=str(http.get("protocol") or ""),
    )


def _read_v1(event: Mapping[str, Any]) -> Scope:
    request = event["requestContext"]
    headers = _pairs(event.get("multiValueHeaders"), event.get("headers"))
    query = _pairs(event.get("multiValueQueryStringParameters"), event.get("queryStringParameters"))
    # The context's path has the stage (or the domain's base path) in front of the event's.
    path = str(event["path"])
    full = str(request.get("path") or path)
    root_path = full.removesuffix(path) if full.endswith(path) else ""
    return _scope(
        method=str(event["httpMethod"]),
        path=root_path + path,
        root_path=root_path,
        query=urlencode(query),
        headers=headers,
        client=str((request.get("identity") or {}).get("sourceIp") or ""),
        protocol=str(request.get("protocol") or ""),
    )


def _scope(
    *, method: str, path: str, root_path: str, query: str, headers: list[tuple[str, str]], client: str, protocol: str
) -> Scope:
    raw_path = quote(path or "/", safe=_PATH_SAFE)
    encoded = [(_bytes(name).lower(), _bytes(value)) for name, value in headers]
    first = dict(reversed(encoded))
    scheme = first.get(b"x-forwarded-proto", b"https").split(b",")[0].strip().decode("latin-1")
    host, _, port = first.get(b"host", b"").decode("latin-1").rpartition(":")
    if not (host and port.isdigit()):
        host, port = first.get(b"host", b"localhost").decode("latin-1"), "80" if scheme == "http" else "443"
    return {
        "type": "http",
        # 2.4: `send` raises OSError when the reader is gone, so no task need listen for a disconnect.
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": protocol.partition("/")[2] or "1.1",
        "method": method.upper(),
        "scheme": scheme,
        "path": unquote_to_bytes(raw_path).decode("utf-8", "replace"),
        "raw_path": raw_path.encode("ascii"),
        "query_string": _bytes(query),
        "root_path": root_path,
        "headers": encoded,
        "client": (client, 0) if client else None,
        "server": (host, int(port)),
    }


def _pairs(multi: Mapping[str, Iterable[Any]] | None, single: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Names with values, from the multi-value form where it is given."""
    if multi:
        return [(str(name), str(value)) for name, values in multi.items() for value in values or ()]
    return [(str(name), str(value)) for name, value in (single or {}).items()]


def _body(event: Mapping[str, Any]) -> bytes:
    body = event.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise TypeError("body is not text")
    if event.get("isBase64Encoded"):
        try:
            return base64.b64decode(body, validate=True)
        except binascii.Error as error:
            raise ValueError("body is not base64") from error
    return body.encode("utf-8", "surrogatepass")


def _bytes(text: str) -> bytes:
    """Header text as bytes: Latin-1 as HTTP has it, UTF-8 for what goes beyond."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
