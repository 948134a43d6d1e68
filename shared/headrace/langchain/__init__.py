"""Headrace's parts as LangChain's, for chains and agents that already speak it: asynchronous alone, no thread stands behind them.

Needs `langchain-core`. docs/agents.md shows each; the other way round, LangChain's tools for Headrace's agent, is
headrace.tools.langchain.
"""

from headrace.langchain.chat_model import HeadraceChatModel, open_langchain_model
from headrace.langchain.retriever import HeadraceRetriever, open_langchain_retriever
from headrace.langchain.tools import HeadraceTool, open_langchain_tools

__all__ = [
    "HeadraceChatModel",
    "HeadraceRetriever",
    "HeadraceTool",
    "open_langchain_model",
    "open_langchain_retriever",
    "open_langchain_tools",
]
