"""Headrace's chat models as LangChain's: with their retries, idle timeouts, dialects and fallbacks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Annotated, Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.chat_models import agenerate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, SkipValidation

from headrace import wiring
from headrace.protocols import ChatModel
from headrace.settings import Settings
from headrace.types import Message, ModelOptions, NamedTool, ToolCall, ToolChoice, ToolSpec, ToolUse, Usage

ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}


class HeadraceChatModel(BaseChatModel):
    """A ChatModel in LangChain's form: `ainvoke`, `astream`, `bind_tools`."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: Annotated[ChatModel, SkipValidation]
    max_tokens: int = 1024

    @property
    def _llm_type(self) -> str:
        return "headrace"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model, which may call these. `tool_choice` is auto, none, required (or any), or a tool's name."""
        functions = [convert_to_openai_tool(tool)["function"] for tool in tools]
        specs = [ToolSpec(f["name"], f.get("description", ""), f.get("parameters") or {}) for f in functions]
        return self.bind(tools=specs, tool_choice=_choice(tool_choice), **kwargs)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        options = ModelOptions(stop=tuple(stop or ()))
        tools, choice = kwargs.get("tools", ()), kwargs.get("tool_choice", ToolUse.AUTO)
        asked = self.model.stream(
            [_message(message) for message in messages],
            max_tokens=self.max_tokens,
            tools=tools,
            tool_choice=choice,
            options=options,
        )
        async with aclosing(asked) as chunks:
            async for chunk in chunks:
                calls = [
                    tool_call_chunk(name=c.name or None, args=c.arguments or None, id=c.id or None, index=c.index)
                    for c in chunk.tool_calls
                ]
                about = {"finish_reason": str(chunk.finish_reason)} if chunk.finish_reason else {}
                message = AIMessageChunk(
                    content=chunk.text,
                    tool_call_chunks=calls,
                    usage_metadata=_usage(chunk.usage),
                    response_metadata=about,
                )
                if run_manager is not None and chunk.text:
                    await run_manager.on_llm_new_token(chunk.text)
                yield ChatGenerationChunk(message=message)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, run_manager, **kwargs))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError("Headrace's models are asynchronous. Use `await model.ainvoke(…)` or `astream`.")


@asynccontextmanager
async def open_langchain_model(settings: Settings) -> AsyncIterator[HeadraceChatModel]:
    """The language model that the settings name, with its fallbacks; closes its connections at the end."""
    async with (
        wiring.open_chat_model(settings, settings.chat_model) as primary,
        wiring.open_answering_model(settings, primary) as model,
    ):
        yield HeadraceChatModel(model=model, max_tokens=settings.answer_max_tokens)


def _choice(given: str | bool | dict[str, Any] | None) -> ToolChoice:  # noqa: FBT001 - LangChain's own
    if isinstance(given, dict):
        return NamedTool(str(given.get("function", given).get("name")))
    if given in {None, False, "auto"}:
        return ToolUse.AUTO
    if given in {True, "required", "any"}:
        return ToolUse.REQUIRED
    return ToolUse.NONE if given == "none" else NamedTool(str(given))


def _usage(usage: Usage | None) -> UsageMetadata | None:
    if usage is None:
        return None
    return UsageMetadata(
        input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens, total_tokens=usage.total_tokens
    )


def _message(message: BaseMessage) -> Message:
    text = message.text if isinstance(message.text, str) else str(message.content)
    if isinstance(message, ToolMessage):
        return Message("tool", text, tool_call_id=message.tool_call_id)
    calls = (
        tuple(ToolCall(call["id"] or "", call["name"], json.dumps(call["args"])) for call in message.tool_calls)
        if isinstance(message, AIMessage)
        else ()
    )
    return Message(ROLES.get(message.type, "user"), text, calls)
