"""Wiring of agents: their tools, and the limits of what they do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from headrace.settings import Settings

if TYPE_CHECKING:
    from headrace.agents.agent import Agent
    from headrace.agents.limits import AgentLimits
    from headrace.protocols import ChatModel, DocumentRegistry, ToolSource, VectorSearch
    from headrace.retrieval.retriever import Retriever


@asynccontextmanager
async def open_tool_sources(settings: Settings, documents: ToolSource) -> AsyncIterator[Sequence[ToolSource]]:
    """The documents' tools, and those that AGENT_TOOLS names. Raises ConfigurationError."""
    if not settings.agent_tools:
        yield [documents]
        return
    from headrace.tools.declared import open_declared_tools, read_declarations

    declared = await asyncio.to_thread(read_declarations, settings.agent_tools, settings.agent_tool_secrets)
    async with open_declared_tools(declared, allow_private=settings.agent_private_hosts == "allowed") as sources:
        yield [documents, *sources]


def document_tools_on(retriever: Retriever, store: VectorSearch, registry: DocumentRegistry) -> ToolSource:
    """The documents' own tools."""
    from headrace.tools.sources import DocumentTools

    return DocumentTools(retriever, store, registry)


def agents_on(model: ChatModel, sources: Sequence[ToolSource], settings: Settings) -> tuple[Agent, Agent]:
    """The agent, and the one that calls its caller's tools alone."""
    from headrace.agents.agent import Agent
    from headrace.answering.dependencies import AGENT_MODEL, DEFAULT_MODEL

    limits, max_tokens = agent_limits(settings), settings.answer_max_tokens
    return (
        Agent(model, sources, name=AGENT_MODEL, max_tokens=max_tokens, limits=limits),
        Agent(model, (), name=DEFAULT_MODEL, max_tokens=max_tokens, limits=limits),
    )


def agent_limits(settings: Settings) -> AgentLimits:
    """How far an agent goes."""
    from headrace.agents.limits import AgentLimits

    return AgentLimits(
        steps=settings.agent_max_steps, tokens=settings.agent_max_tokens, seconds=settings.agent_max_seconds
    )
