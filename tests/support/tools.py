"""Tools for agents in tests: each does one thing that tools do in the field."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.types import Principal, ToolResult, ToolSpec

ANYTHING = {"type": "object"}


@dataclass
class ScriptedTool:
    """A Tool that does what it is told, and notes who called it with what."""

    name: str
    does: Callable[[Mapping[str, Any]], Awaitable[ToolResult]]
    schema: Mapping[str, Any] = field(default_factory=lambda: ANYTHING)
    timeout_seconds: float = 5.0
    writes: bool = False
    is_of_documents: bool = False
    calls: list[tuple[Mapping[str, Any], Principal]] = field(default_factory=list)
    running: int = 0
    most_at_once: int = 0

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(self.name, f"The tool {self.name}.", self.schema)

    async def call(self, arguments: Mapping[str, Any], principal: Principal) -> ToolResult:
        self.calls.append((arguments, principal))
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            return await self.does(arguments)
        finally:
            self.running -= 1


def says(text: str, *, after_seconds: float = 0.0) -> Callable[[Mapping[str, Any]], Awaitable[ToolResult]]:
    """What a tool does that tells one thing, a little later."""

    async def tell(_: Mapping[str, Any]) -> ToolResult:
        await asyncio.sleep(after_seconds)
        return ToolResult(text)

    return tell


def raises(error: Exception) -> Callable[[Mapping[str, Any]], Awaitable[ToolResult]]:
    """What a tool does that fails."""

    async def fail(_: Mapping[str, Any]) -> ToolResult:
        raise error

    return fail
