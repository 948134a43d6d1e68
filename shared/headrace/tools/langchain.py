"""Any LangChain tool as one of an agent's, by its asynchronous path. Needs `langchain-core`."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from langchain_core.tools import BaseTool, StructuredTool, Tool, ToolException
from langchain_core.utils.function_calling import convert_to_openai_tool

from headrace.errors import ConfigurationError, ToolError
from headrace.types import Principal, ToolResult, ToolSpec

TIMEOUT_SECONDS = 30.0
# Tools that know no asynchronous way share so many threads.
THREADS = 16

logger = logging.getLogger(__name__)


class LangChainTool:
    """Calls a BaseTool. One that is synchronous alone runs in a thread of a bounded pool, and says so when it is made.

    `writes` and `timeout_seconds` are its metadata of these names, where it has any.
    """

    is_of_documents = False

    def __init__(self, tool: BaseTool) -> None:
        if not isinstance(tool, BaseTool):
            raise ConfigurationError(
                f"{tool!r} is no tool: neither Headrace's (headrace.protocols.Tool) nor LangChain's."
            )
        self._tool = tool
        self._is_asynchronous = has_async_path(tool)
        described = convert_to_openai_tool(tool)["function"]
        metadata = tool.metadata or {}
        self.spec = ToolSpec(described["name"], described.get("description", ""), described.get("parameters") or {})
        self.writes = bool(metadata.get("writes", False))
        self.timeout_seconds = float(metadata.get("timeout_seconds", TIMEOUT_SECONDS))
        if not self._is_asynchronous:
            logger.warning(
                "The LangChain tool %s is synchronous: its calls wait for %d threads. Give it a coroutine (_arun).",
                tool.name,
                THREADS,
            )

    async def call(self, arguments: Mapping[str, Any], principal: Principal) -> ToolResult:  # noqa: ARG002 - a LangChain tool knows no askers
        try:
            if self._is_asynchronous:
                given = await self._tool.ainvoke(dict(arguments))
            else:
                run = asyncio.get_running_loop().run_in_executor
                given = await run(_threads(), self._tool.invoke, dict(arguments))
        except ToolException as error:
            # Which is what LangChain's tools raise to tell the model something.
            raise ToolError(str(error)) from error
        return ToolResult(given if isinstance(given, str) else json.dumps(given, ensure_ascii=False, default=str))


def has_async_path(tool: BaseTool) -> bool:
    """Whether the tool has an asynchronous way of its own, and not the one that LangChain makes of a thread."""
    if isinstance(tool, StructuredTool | Tool):
        return tool.coroutine is not None
    return type(tool)._arun is not BaseTool._arun


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="langchain-tool")
