"""A tool that is an operation of an HTTP service: a method, a URL with places, and where each argument goes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from headrace.clients.outbound import Outbound
from headrace.errors import ToolError
from headrace.types import Principal, ToolResult, ToolSpec

_PLACE = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class Operation:
    """How a call becomes a request. Arguments that the URL has no place for go into the query, or the body.

    `query` names those that go into the query; None: all, where the method has no body. `body` names the argument that is the
    body by itself; without it, what is left is a JSON object.
    """

    spec: ToolSpec
    method: str
    url: str
    hosts: frozenset[str]
    headers: Mapping[str, str] = field(default_factory=dict)
    query: frozenset[str] | None = None
    sent_headers: frozenset[str] = frozenset()
    body: str | None = None
    writes: bool = False
    timeout_seconds: float = 15.0


class HttpTool:
    """Calls one operation."""

    is_of_documents = False

    def __init__(self, operation: Operation, outbound: Outbound) -> None:
        self._operation = operation
        self._outbound = outbound
        self.spec = operation.spec
        self.writes = operation.writes
        self.timeout_seconds = operation.timeout_seconds

    async def call(self, arguments: Mapping[str, Any], principal: Principal) -> ToolResult:  # noqa: ARG002 - the service knows its own askers
        operation, left = self._operation, dict(arguments)
        url = _PLACE.sub(lambda place: _segment(left.pop(place[1], None), place[1]), operation.url)
        headers = {name: _text(left.pop(name)) for name in operation.sent_headers if name in left}
        has_body = operation.method not in {"GET", "HEAD", "DELETE"}
        queried = left.keys() if operation.query is None and not has_body else operation.query or frozenset()
        params = [pair for name in list(queried) if name in left for pair in _pairs(name, left.pop(name))]
        body = left.pop(operation.body, None) if operation.body else left or None
        reply = await self._outbound.request(
            operation.method,
            url,
            hosts=operation.hosts,
            headers={**headers, **operation.headers},
            params=params,
            json=body if has_body else None,
        )
        return _result(reply.status, reply.text, is_cut=reply.is_cut)


def _result(status: int, text: str, *, is_cut: bool) -> ToolResult:
    if status in {401, 403}:
        raise ToolError("The service does not let this application in.")
    if status >= 500 or status == 429:
        raise ToolError(f"The service is not available at present (status {status}).")
    if 300 <= status < 400:
        raise ToolError("The service sends its callers elsewhere, which is not followed.")
    # What it refuses is for the model: it may have asked wrongly.
    told = f"Status {status}.\n{text}" if status >= 400 else text or f"Status {status}."
    return ToolResult(told + ("\n(The reply was longer.)" if is_cut else ""))


def _segment(value: Any, name: str) -> str:
    """One segment of a path, which can't become several, or none."""
    text = "" if value is None else _text(value)
    if not text or set(text) <= {"."}:
        raise ToolError(f"The argument {name!r} can't be used in an address.")
    return quote(text, safe="")


def _pairs(name: str, value: Any) -> list[tuple[str, str]]:
    """A query's parameter; a list is the same name several times."""
    return [(name, _text(each)) for each in (value if isinstance(value, list) else [value])]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
