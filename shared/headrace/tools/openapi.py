"""The operations that an OpenAPI description (3.0 or 3.1) has, as tools.

Reference: https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from headrace.constrained.checking import check_constraint
from headrace.errors import ConfigurationError, InvalidInputError
from headrace.tools.http import Operation
from headrace.types import ToolSpec

METHODS = ("get", "put", "post", "delete", "patch")
MOST_DEPTH = 30
BODY = "body"


def operations_of(
    described: Mapping[str, Any],
    *,
    base_url: str = "",
    only: Collection[str] = (),
    headers: Mapping[str, str],
    hosts: Collection[str] = (),
    reads: Collection[str] = (),
) -> list[Operation]:
    """The operations, or those of these names. Whatever is no GET writes, but for those that `reads` names.

    Raises ConfigurationError.
    """
    servers = described.get("servers") or [{}]
    base = base_url or str(servers[0].get("url", ""))
    host = urlsplit(base).hostname
    if not host:
        raise ConfigurationError("An OpenAPI description in AGENT_TOOLS has no absolute server URL. Give its base_url.")
    found: dict[str, Operation] = {}
    wanted = set(map(_name, only))
    for path, method, operation in _each(described):
        name = _name(operation.get("operationId") or f"{method}_{path}")
        if wanted and name not in wanted:
            continue
        # An operation's own parameter stands for its path's.
        given = {(p["name"], p["in"]): p for p in (_resolved(each, described) for each in operation["parameters"])}
        parameters = list(given.values())
        places = {each["name"]: each["in"] for each in parameters}
        found[name] = Operation(
            ToolSpec(name, _description(operation), _schema(operation, parameters, described)),
            method.upper(),
            f"{base.rstrip('/')}/{path.lstrip('/')}",
            frozenset(hosts) or frozenset({host.lower()}),
            headers,
            query=frozenset(name for name, place in places.items() if place == "query"),
            sent_headers=frozenset(name for name, place in places.items() if place == "header"),
            body=BODY,
            writes=method != "get" and name not in reads,
        )
        check_operation(found[name])
    missing = wanted - found.keys()
    if missing:
        raise ConfigurationError(
            f"AGENT_TOOLS names operations that the OpenAPI description lacks: {', '.join(sorted(missing))}."
        )
    return list(found.values())


def _each(described: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in (described.get("paths") or {}).items():
        whole = _resolved(item, described)
        for method in METHODS:
            if method in whole:
                operation = dict(whole[method])
                operation["parameters"] = [*whole.get("parameters", ()), *operation.get("parameters", ())]
                yield path, method, operation


def _name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_")[:64]


def check_operation(operation: Operation) -> None:
    """Raise ConfigurationError for a schema that can't be used: each call of the tool would fail."""
    try:
        check_constraint(operation.spec.arguments)
    except InvalidInputError as error:
        raise ConfigurationError(
            f"AGENT_TOOLS has a tool {operation.spec.name!r} that can't be called. {error}"
        ) from None


def _description(operation: Mapping[str, Any]) -> str:
    return "\n".join(filter(None, (operation.get("summary"), operation.get("description"))))[:4_000]


def _schema(
    operation: Mapping[str, Any], parameters: Collection[Mapping[str, Any]], described: Mapping[str, Any]
) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required = []
    for each in parameters:
        if each["in"] == "cookie":
            continue
        about = {"description": each["description"]} if each.get("description") else {}
        properties[each["name"]] = {**_expanded(each.get("schema") or {}, described), **about}
        if each.get("required") or each["in"] == "path":
            required.append(each["name"])
    if body := operation.get("requestBody"):
        body = _resolved(body, described)
        content = body.get("content") or {}
        kind = next((kind for kind in content if "json" in kind), None)
        if kind is not None:
            properties[BODY] = _expanded(content[kind].get("schema") or {}, described)
            required += [BODY] if body.get("required") else []
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _resolved(value: Mapping[str, Any], described: Mapping[str, Any]) -> Mapping[str, Any]:
    """The value that a reference within the description stands for. Raises ConfigurationError."""
    for _ in range(MOST_DEPTH):
        reference = value.get("$ref")
        if reference is None:
            return value
        found: Any = described
        for part in str(reference).removeprefix("#/").split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if not str(reference).startswith("#/") or not isinstance(found, Mapping) or key not in found:
                raise ConfigurationError(
                    f"An OpenAPI description in AGENT_TOOLS refers to {reference!r}, which it lacks."
                )
            found = found[key]
        value = found
    raise ConfigurationError("An OpenAPI description in AGENT_TOOLS has references without an end.")


def _expanded(schema: Any, described: Mapping[str, Any], depth: int = 0) -> Any:
    """The schema with its references replaced; what refers to itself is left open below a depth."""
    if isinstance(schema, list):
        return [_expanded(each, described, depth) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    if "$ref" in schema:
        return {} if depth > MOST_DEPTH else _expanded(_resolved(schema, described), described, depth + MOST_DEPTH // 4)
    made = {key: _expanded(each, described, depth + 1) for key, each in schema.items() if key not in OPENAPI_ONLY}
    # OpenAPI 3.0 has a word of its own for null.
    if schema.get("nullable") and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    for name, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        # So are its limits: a flag there, a number here.
        if isinstance(made.get(name), bool) and made.pop(name) and limit in made:
            made[name] = made.pop(limit)
    return made


OPENAPI_ONLY = frozenset({"nullable", "discriminator", "xml", "externalDocs", "example"})
