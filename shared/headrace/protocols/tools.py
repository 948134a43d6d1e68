"""The seam of tools: what an agent may do beside reading the passages that were found for its question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from headrace.types import Principal, ToolResult, ToolSpec


class Tool(Protocol):
    """Something that a model may call. Whatever it gives is data to the model, never instructions."""

    @property
    def spec(self) -> ToolSpec:
        """Its name (letters, digits, `_` and `-`), what it is for, and the JSON Schema of its arguments."""

    @property
    def timeout_seconds(self) -> float:
        """How long a call may take."""

    @property
    def writes(self) -> bool:
        """Whether a call changes something, which its user has to allow."""

    @property
    def is_of_documents(self) -> bool:
        """Whether all that it tells stands in its passages, so that an answer holds for as long as these are current."""

    async def call(self, arguments: Mapping[str, Any], principal: Principal) -> ToolResult:
        """Do it, for this principal, who is never named by arguments; these satisfy the schema.

        Raises ToolError with a sentence that the model may read. Of any other fault it reads a fixed sentence.
        """


class ToolSource(Protocol):
    """Where tools come from: a list, or a server that has to be asked for it."""

    @property
    def is_of_documents(self) -> bool:
        """Whether all its tools are."""

    async def tools(self, filter_: Mapping[str, Any]) -> Sequence[Tool]:
        """The tools that there are now: none, or those known before, while a server does not answer.

        Those of documents keep to documents that the `filter_` (headrace.filters) lets through.
        """
