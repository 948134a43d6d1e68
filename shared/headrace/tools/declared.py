"""The tools that AGENT_TOOLS declares: HTTP operations, MCP servers, and Python objects.

docs/agents.md has the form of a declaration.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from headrace.errors import ConfigurationError
from headrace.protocols import Tool, ToolSource
from headrace.tools.http import HttpTool, Operation
from headrace.tools.openapi import check_operation, operations_of
from headrace.tools.sources import FixedTools
from headrace.types import ToolSpec

KINDS = frozenset({"http", "openapi", "mcp", "python"})
_SECRET = re.compile(r"\$\{([A-Za-z0-9_]+)\}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
FIELDS = {
    "http": {"name", "description", "method", "url", "parameters", "headers", "writes", "timeout_seconds"},
    "openapi": {"description", "base_url", "operations", "headers", "hosts", "reads"},
    "mcp": {"name", "url", "headers", "tools", "reads", "timeout_seconds"},
}


def read_declarations(text: str, secrets: str) -> dict[str, list[Any]]:
    """What AGENT_TOOLS says, JSON or the path of a file that has it, with its secrets put in. Raises ConfigurationError."""
    try:
        given = json.loads(text if text.lstrip()[:1] in {"{", "["} else Path(text).read_text())
        known = json.loads(secrets or "{}")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"AGENT_TOOLS or AGENT_TOOL_SECRETS can't be read: {error}. Both are JSON objects."
        ) from None
    if not isinstance(given, dict) or not isinstance(known, dict) or not given.keys() <= KINDS:
        raise ConfigurationError(
            f"AGENT_TOOLS is a JSON object with the lists {', '.join(sorted(KINDS))}; docs/agents.md shows it."
        )
    for kind, entries in given.items():
        for entry in entries if isinstance(entries, list) else [None]:
            _check_entry(kind, entry)
    read = {kind: [_with_secrets(entry, known) for entry in entries] for kind, entries in given.items()}
    read["openapi"] = [{**entry, "description": _description(entry)} for entry in read.get("openapi", ())]
    return read


def _check_entry(kind: str, entry: Any) -> None:
    if kind == "python":
        if not isinstance(entry, str) or ":" not in entry:
            raise ConfigurationError("AGENT_TOOLS lists under `python` names like `my_tools:TOOLS`.")
        return
    headers = entry.get("headers", {}) if isinstance(entry, dict) else {}
    if not isinstance(headers, dict) or not all(isinstance(each, str) for each in headers.values()):
        raise ConfigurationError(f"AGENT_TOOLS has under `{kind}` headers that are no object of texts.")
    unknown = sorted(entry.keys() - FIELDS[kind]) if isinstance(entry, dict) else ["a list of objects is wanted"]
    if unknown:
        raise ConfigurationError(
            f"AGENT_TOOLS has under `{kind}` what is not known: {', '.join(unknown)}. Known: {', '.join(sorted(FIELDS[kind]))}."
        )


def _with_secrets(entry: Any, secrets: Mapping[str, str]) -> Any:
    """The entry, with `${NAME}` in its headers replaced. Nowhere else: a secret in a URL would stand in logs."""
    if not isinstance(entry, dict) or "headers" not in entry:
        return entry

    def value(found: re.Match[str]) -> str:
        if found[1] not in secrets:
            raise ConfigurationError(f"AGENT_TOOLS names the secret {found[1]!r}, which AGENT_TOOL_SECRETS lacks.")
        return str(secrets[found[1]])

    return {**entry, "headers": {name: _SECRET.sub(value, text) for name, text in entry["headers"].items()}}


@asynccontextmanager
async def open_declared_tools(
    declared: Mapping[str, Sequence[Any]], *, allow_private: bool
) -> AsyncIterator[list[ToolSource]]:
    """Where the declared tools come from. Makes no connection before their first call. Raises ConfigurationError."""
    async with AsyncExitStack() as stack:
        sources: list[ToolSource] = []
        operations = [_operation(entry) for entry in declared.get("http", ())]
        for entry in declared.get("openapi", ()):
            operations += _described(entry)
        if operations:
            from headrace.clients.outbound import open_outbound

            outbound = await stack.enter_async_context(open_outbound(allow_private=allow_private))
            sources.append(FixedTools([HttpTool(operation, outbound) for operation in operations]))
        for entry in declared.get("mcp", ()):
            from headrace.tools.mcp import McpServer

            sources.append(McpServer(allow_private=allow_private, **_required(entry, "mcp", "name", "url")))
        sources += [FixedTools(_python_tools(name)) for name in declared.get("python", ())]
        yield sources


def _required(entry: dict[str, Any], kind: str, *names: str) -> dict[str, Any]:
    missing = [name for name in names if not isinstance(entry.get(name), str)]
    if missing:
        raise ConfigurationError(f"AGENT_TOOLS has an entry under `{kind}` without {' and '.join(missing)}.")
    return entry


def _operation(entry: dict[str, Any]) -> Operation:
    _required(entry, "http", "name", "description", "url")
    method, name = str(entry.get("method", "GET")).upper(), entry["name"]
    host = urlsplit(entry["url"]).hostname
    if not _NAME.fullmatch(name) or not host or "{" in host:
        raise ConfigurationError(
            f"AGENT_TOOLS has a tool {name!r}: a name has letters, digits, _ and -, a URL a fixed host."
        )
    parameters = entry.get("parameters") or {"type": "object"}
    operation = Operation(
        ToolSpec(name, entry["description"], parameters),
        method,
        entry["url"],
        frozenset({host.lower()}),
        entry.get("headers", {}),
        writes=bool(entry.get("writes", method not in {"GET", "HEAD"})),
        timeout_seconds=float(entry.get("timeout_seconds", 15.0)),
    )
    check_operation(operation)
    return operation


def _description(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The OpenAPI description that an entry has, or names. Raises ConfigurationError."""
    described = entry.get("description")
    try:
        described = json.loads(Path(described).read_text()) if isinstance(described, str) else described
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"An OpenAPI description in AGENT_TOOLS can't be read as JSON: {error}.") from None
    if not isinstance(described, dict):
        raise ConfigurationError(
            "AGENT_TOOLS has an entry under `openapi` without `description`: a file's path, or the JSON."
        )
    return described


def _described(entry: Mapping[str, Any]) -> list[Operation]:
    return operations_of(
        entry["description"],
        base_url=entry.get("base_url", ""),
        only=entry.get("operations", ()),
        headers=entry.get("headers", {}),
        hosts=entry.get("hosts", ()),
        reads=entry.get("reads", ()),
    )


def _python_tools(name: str) -> list[Tool]:
    """The tools that a module has under a name: ours, or LangChain's. Raises ConfigurationError."""
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"AGENT_TOOLS names {name!r}, which can't be imported: {error}.") from error
    tools = found if isinstance(found, list | tuple) else found()
    return [_as_tool(tool) for tool in tools]


def _as_tool(tool: Any) -> Tool:
    if hasattr(tool, "spec") and hasattr(tool, "timeout_seconds"):
        return tool
    from headrace.tools.langchain import LangChainTool

    return LangChainTool(tool)
