"""The MCP server at `/mcp`: stateless streamable HTTP, for both generations of the protocol. Loaded by its first request.

Reference: https://modelcontextprotocol.io/specification
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from functions.chat.dependencies import ChatDependencies, deadline_of, dependencies_of, visit_of
from functions.chat.faults import fault_of
from functions.chat.responses import unless_abandoned, whole_events
from functions.chat.wire.bodies import filter_of
from functions.chat.wire.schemas import answer_payload, passage_payload
from headrace.constrained.checking import check_text
from headrace.constrained.reasons import ConstraintError
from headrace.errors import InvalidInputError, ToolError
from headrace.protocols import Tool
from headrace.types import JsonSchema, Question

ASK = types.Tool(
    name="ask",
    title="Ask the documents",
    description="Ask a question; gives an answer from the documents, with citations as structured content.",
    input_schema={
        "type": "object",
        "properties": {
            "question": {"type": "string", "pattern": r"\S", "maxLength": 8000},
            "model": {"type": "string", "description": "A name in /v1/models; the default one without it."},
            "filter": {"type": "object", "description": "Only documents that match (docs/api.md)."},
        },
        "required": ["question"],
        "additionalProperties": False,
    },
    annotations=types.ToolAnnotations(read_only_hint=True),
)
INSTRUCTIONS = "Searches a library of documents, reads them, and answers questions from them with citations."


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request. Nothing of it outlives it, so any environment may answer the next one."""
    manager = StreamableHTTPSessionManager(app=SERVER, stateless=True, json_response=True)
    async with manager.run():
        await manager.handle_request(scope, receive, send)


async def list_tools(context: ServerRequestContext[Any], params: object) -> types.ListToolsResult:  # noqa: ARG001 - all are on one page
    """The documents' tools, and the one that asks."""
    deps = await dependencies_of(_request(context))
    listed = [
        types.Tool(
            name=tool.spec.name,
            description=tool.spec.description,
            input_schema=dict(tool.spec.parameters),
            annotations=types.ToolAnnotations(read_only_hint=not tool.writes),
        )
        for tool in await _tools(deps)
    ]
    return types.ListToolsResult(tools=[ASK, *listed], ttl_ms=60_000, cache_scope="private")


async def call_tool(context: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
    """What a tool gives. What goes wrong is a result that says so, in words for the caller."""
    request, arguments = _request(context), params.arguments or {}
    deps = await dependencies_of(request)
    try:
        if params.name == ASK.name:
            _check(arguments, ASK.input_schema)
            return await _ask(request, deps, arguments)
        tool = next((each for each in await _tools(deps) if each.spec.name == params.name), None)
        if tool is None:
            raise InvalidInputError(f"There is no tool {params.name!r}.")
        _check(arguments, tool.spec.parameters)
        return await unless_abandoned(request.receive, _call(request, deps, tool, arguments))
    except ToolError as error:
        return _said(str(error), is_error=True)
    except Exception as error:  # noqa: BLE001 - each fault is a result
        return _said(fault_of(error)[1]["error"]["message"], is_error=True)


SERVER: Server[Any] = Server("headrace", instructions=INSTRUCTIONS, on_list_tools=list_tools, on_call_tool=call_tool)


async def _ask(request: Request, deps: ChatDependencies, arguments: dict[str, Any]) -> types.CallToolResult:
    asker, answering = visit_of(request).principal, deps.answering.using(arguments.get("model"))
    question = Question(arguments["question"], asker, history=(), filter=filter_of(arguments.get("filter")))
    deadline_seconds = await deadline_of(request)
    whole = answer_payload(await whole_events(question, answering, request, deps, deadline_seconds=deadline_seconds))
    return _said(whole["answer"], structured=whole)


async def _call(
    request: Request, deps: ChatDependencies, tool: Tool, arguments: dict[str, Any]
) -> types.CallToolResult:
    visit = visit_of(request)
    visit.begin_search(deps.load)
    try:
        async with asyncio.timeout(min(tool.timeout_seconds, await deadline_of(request))):
            result = await tool.call(arguments, visit.principal)
    finally:
        visit.end()
    passages = [passage_payload(number, each) for number, each in enumerate(result.passages, 1)]
    shown = [f"[{each['number']}] {each['name']}, {each['place']}:\n{each['text']}" for each in passages]
    text = "\n\n".join(filter(None, [result.text, *shown])) or "Nothing was found."
    return _said(text, structured={"text": result.text, "passages": passages})


def _said(text: str, *, structured: dict[str, Any] | None = None, is_error: bool = False) -> types.CallToolResult:
    content: list[Any] = [types.TextContent(type="text", text=text)]
    return types.CallToolResult(content=content, structured_content=structured, is_error=is_error)


def _check(arguments: dict[str, Any], schema: Any) -> None:
    """Raise InvalidInputError for arguments that the schema does not allow."""
    try:
        check_text(json.dumps(arguments), JsonSchema("arguments", schema, strict=False))
    except ConstraintError as error:
        raise InvalidInputError(f"The arguments are wrong. {error}") from None


async def _tools(deps: ChatDependencies) -> list[Tool]:
    source = deps.answering.document_tools
    return [] if source is None else list(await source.tools({}))


def _request(context: ServerRequestContext[Any]) -> Request:
    request = context.request
    assert isinstance(request, Request), "each call comes by HTTP"  # noqa: S101
    return request
