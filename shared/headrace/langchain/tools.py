"""Headrace's tools as LangChain's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

from langchain_core.callbacks import AsyncCallbackManagerForToolRun, CallbackManagerForToolRun
from langchain_core.tools import BaseTool, ToolException
from pydantic import ConfigDict, SkipValidation

from headrace import wiring
from headrace.constrained.checking import check_text
from headrace.constrained.reasons import ConstraintError
from headrace.errors import InvalidInputError, ToolError
from headrace.langchain.retriever import open_parts
from headrace.protocols import Tool
from headrace.settings import Settings
from headrace.types import Passage, Principal


class HeadraceTool(BaseTool):
    """One of Headrace's tools, for one principal. Its artifact is the list of passages, as dictionaries."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    tool: Annotated[Tool, SkipValidation]
    principal: Principal
    response_format: str = "content_and_artifact"  # type: ignore[assignment]

    @classmethod
    def of(cls, tool: Tool, principal: Principal) -> HeadraceTool:
        """The tool as LangChain's."""
        spec = tool.spec
        return cls(
            name=spec.name,
            description=spec.description,
            args_schema=dict(spec.parameters),
            tool=tool,
            principal=principal,
        )

    async def _arun(
        self, *, run_manager: AsyncCallbackManagerForToolRun | None = None, **arguments: Any
    ) -> tuple[str, list[dict[str, Any]]]:
        try:
            check_text(json.dumps(arguments), self.tool.spec.arguments)
            result = await self.tool.call(arguments, self.principal)
        except (ToolError, InvalidInputError, ConstraintError) as error:
            raise ToolException(str(error)) from error
        told = [result.text, *(f"{each.chunk.name}, {each.chunk.place}:\n{_text(each)}" for each in result.passages)]
        return "\n\n".join(filter(None, told)), [_passage(each) for each in result.passages]

    def _run(self, *, run_manager: CallbackManagerForToolRun | None = None, **arguments: Any) -> Any:
        raise NotImplementedError("Headrace's tools are asynchronous. Use `await tool.ainvoke(…)`.")


@asynccontextmanager
async def open_langchain_tools(settings: Settings, *, principal: Principal) -> AsyncIterator[Sequence[HeadraceTool]]:
    """The documents' tools on the parts that the settings name; closes their connections at the end."""
    async with open_parts(settings) as (retriever, store, registry):
        tools = await wiring.document_tools_on(retriever, store, registry).tools({})
        yield [HeadraceTool.of(tool, principal) for tool in tools]


def _text(passage: Passage) -> str:
    return passage.context or passage.chunk.text


def _passage(passage: Passage) -> dict[str, Any]:
    chunk = passage.chunk
    return {"document": chunk.document_key, "name": chunk.name, "place": chunk.place, "text": chunk.text}
