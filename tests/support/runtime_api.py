"""Lambda's HTTP events as AWS documents them, for the strict Runtime API of infra.local.runtime_api."""

from __future__ import annotations

import base64
from typing import Any

from infra.local.runtime_api import Outcome
from infra.local.runtime_api import RuntimeApiServer as RuntimeApiDouble

__all__ = ["Outcome", "RuntimeApiDouble", "rest_event", "url_event"]


def url_event(method: str = "GET", path: str = "/", *, body: bytes | None = None, **changes: Any) -> dict[str, Any]:
    """A function URL's event, in payload format 2.0 as AWS documents it."""
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "abc.lambda-url.us-east-1.on.aws", "x-forwarded-proto": "https", "accept": "*/*"},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "abc",
            "domainName": "abc.lambda-url.us-east-1.on.aws",
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "test",
            },
            "requestId": "r", "routeKey": "$default", "stage": "$default",
            "time": "23/Nov/2026:08:00:00 +0000", "timeEpoch": 1795420800000,
        },
        "isBase64Encoded": body is not None,
    }  # fmt: skip
    if body is not None:
        event["body"] = base64.b64encode(body).decode()
    return {**event, **changes}


def rest_event(method: str = "GET", path: str = "/", *, stage: str = "prod", **changes: Any) -> dict[str, Any]:
    """An API Gateway REST proxy event (payload format 1.0)."""
    event: dict[str, Any] = {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": {"Host": "x.execute-api.us-east-1.amazonaws.com", "X-Forwarded-Proto": "https"},
        "multiValueHeaders": {
            "Host": ["x.execute-api.us-east-1.amazonaws.com"], "X-Forwarded-Proto": ["https"], "X-Two": ["a", "b"],
        },
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "requestContext": {
            "path": f"/{stage}{path}", "stage": stage, "protocol": "HTTP/1.1", "identity": {"sourceIp": "203.0.113.9"},
        },
        "body": None,
        "isBase64Encoded": False,
    }  # fmt: skip
    return {**event, **changes}
