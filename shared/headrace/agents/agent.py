"""An Answerer in which a language model calls tools until it can answer, with citations across all that they find."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

from headrace.agents.calls import TOO_MANY, Caller, Outcome, call_key
from headrace.agents.limits import AgentLimits, Budget
from headrace.agents.prompt import AGENT_PROMPT_VERSION, agent_messages, data_message, fault_message
from headrace.agents.sources import Sources
from headrace.agents.turn import Turn, as_message
from headrace.answering.citations import CitationFilter
from headrace.answering.dependencies import AGENT_MODEL
from headrace.answering.generation import as_shown
from headrace.answering.phrases import phrases_for
from headrace.answering.prompt import CHARACTERS_PER_TOKEN, PROMPT_VERSION
from headrace.answering.verification import unsupported
from headrace.protocols import ChatModel, Tool, ToolSource
from headrace.types import (
    AnswerEvent,
    AnswerMode,
    DoneEvent,
    FinishReason,
    Message,
    NamedTool,
    Passage,
    PassagesEvent,
    Question,
    Stage,
    StatusEvent,
    StepEvent,
    StepState,
    TokenEvent,
    ToolCall,
    ToolCallsEvent,
    ToolChoice,
    ToolSpec,
    ToolUse,
    Usage,
    UsageEvent,
)

logger = logging.getLogger(__name__)


class Agent:
    """Answers with what was found for the question, and with what its tools, and its caller's, give beyond that.

    Without sources of tools of its own it calls its caller's alone.
    """

    reads_history = True
    searches = True
    needs_certain_match = False
    keeps_forms = False

    def __init__(
        self,
        model: ChatModel,
        sources: Sequence[ToolSource],
        *,
        max_tokens: int,
        limits: AgentLimits | None = None,
        name: str = AGENT_MODEL,
    ) -> None:
        self._model = model
        self._sources = sources
        self._max_tokens = max_tokens
        self._limits = limits or AgentLimits()
        self.name = name

    async def check(self) -> None:
        await self._model.check()

    def sharing_key(self, question: Question) -> str | None:
        if question.history or question.tools.is_used or question.tools.allowed:
            return None
        if question.filter:
            # Which new chunks matter is told by the filter alone, and tools name documents, too.
            return None
        if not all(source.is_of_documents for source in self._sources):
            return None
        versions = f"{PROMPT_VERSION}.{AGENT_PROMPT_VERSION}"
        return f"{self.name}/{self._model.name}/{versions}/{self._max_tokens}/{self._limits}"

    async def answer(self, question: Question, passages: Sequence[Passage]) -> AsyncGenerator[AnswerEvent, None]:
        yield StatusEvent(Stage.ANSWERING, AnswerMode.GENERATED)
        found = await asyncio.gather(*(source.tools(question.filter) for source in self._sources))
        tools: dict[str, Tool] = {}
        for tool in (tool for each in found for tool in each):
            # The documents' come first; no other takes the name of one.
            if tools.setdefault(tool.spec.name, tool) is not tool:
                logger.warning("Two tools are called %s: the first is used.", tool.spec.name)
        making = _Making(self._model, question, passages, tools=tools, limits=self._limits, max_tokens=self._max_tokens)
        async with aclosing(making.events()) as events:
            async for event in events:
                yield event


class _Making:
    """One answer while it is made."""

    def __init__(
        self,
        model: ChatModel,
        question: Question,
        passages: Sequence[Passage],
        *,
        tools: Mapping[str, Tool],
        limits: AgentLimits,
        max_tokens: int,
    ) -> None:
        self._model = model
        self._question = question
        self._limits = limits
        self._max_tokens = max_tokens
        asked = question.tools
        # What the caller does not want to be called now is not there.
        offered = () if asked.choice is ToolUse.NONE else asked.client_tools
        self._client = {spec.name: spec for spec in offered}
        # Where a caller's tool has the name of one of ours, the caller's is meant.
        self._tools = {name: tool for name, tool in tools.items() if name not in self._client}
        self._caller = Caller(self._tools, question.principal, asked.allowed)
        self._budget = Budget(limits)
        self._sources = Sources(passages)
        self._citations = CitationFilter(self._sources.passages)
        self._messages = [*agent_messages(question, passages), *map(self._framed, asked.turns)]
        # What its caller's tools gave bears the answer out as ours do.
        self._sources.results += [turn.content for turn in asked.turns if turn.role == "tool"]
        self._calls = 0
        self._usage = Usage()
        self._shown: list[str] = []
        self._unconfirmed: dict[tuple[str, str], ToolCall] = {}
        self._is_provisional = False

    async def events(self) -> AsyncGenerator[AnswerEvent, None]:
        """From the passages of the first search to the DoneEvent. Raises what the model raises."""
        shown = len(self._sources.passages)
        yield PassagesEvent(as_shown(self._sources.passages, self._question))
        calls: Sequence[ToolCall] = self._question.tools.allowed
        if calls:
            self._messages.append(Message("assistant", "", tool_calls=tuple(calls)))
        while True:
            async with aclosing(self._make(calls)) as steps:
                async for step in steps:
                    yield step
            if len(self._sources.passages) > shown:
                shown = len(self._sources.passages)
                yield PassagesEvent(as_shown(self._sources.passages, self._question))
            limit = self._budget.spent
            turn = Turn(self._model)
            async with aclosing(self._speak(turn, is_last=limit is not None)) as said:
                async for event in said:
                    yield event
            yield UsageEvent(self._usage)
            calls = turn.calls
            theirs = tuple(call for call in calls if call.name in self._client)
            is_cut_off = turn.finish_reason is FinishReason.LENGTH
            if theirs and not is_cut_off:
                theirs = theirs[:1] if self._question.tools.one_at_a_time else theirs
                yield ToolCallsEvent(theirs)
                yield self._done(turn, AnswerMode.GENERATED, FinishReason.TOOL_CALLS, limit)
                return
            if not calls or limit is not None or (theirs and is_cut_off):
                break
            if turn.text:
                yield self._note(TokenEvent("\n\n"))
            self._messages.append(as_message(turn))
            self._budget.steps += 1
        async with aclosing(self._ending(turn, limit)) as ending:
            async for event in ending:
                yield event

    async def _ending(self, turn: Turn, limit: str | None) -> AsyncGenerator[AnswerEvent, None]:
        mode, reason = AnswerMode.GENERATED, turn.finish_reason
        if reason is not FinishReason.LENGTH and not "".join(self._shown).strip():
            # It was asked for an answer, and has none: it would go on calling.
            mode, reason = AnswerMode.REFUSED, FinishReason.REFUSED
            yield self._note(TokenEvent(phrases_for(self._question.text).refusal))
        elif reason is FinishReason.TOOL_CALLS:
            reason = FinishReason.LENGTH
        elif reason is FinishReason.STOP and turn.is_refusal and not self._citations.cited:
            mode, reason = AnswerMode.REFUSED, FinishReason.REFUSED
        doubts = () if mode is AnswerMode.REFUSED else await asyncio.to_thread(self._doubts)
        yield self._done(turn, mode, reason, limit, unsupported=doubts)

    def _done(self, turn: Turn, mode: AnswerMode, reason: FinishReason, limit: str | None, **more: object) -> DoneEvent:
        is_provisional = self._is_provisional or limit is not None
        return turn.done(
            mode, reason, limit=limit, unconfirmed=tuple(self._unconfirmed.values()), provisional=is_provisional, **more
        )

    def _doubts(self) -> tuple[object, ...]:
        sources = self._sources
        return tuple(unsupported("".join(self._shown), sources.passages, self._question.text, sources.results))

    async def _speak(self, turn: Turn, *, is_last: bool) -> AsyncGenerator[AnswerEvent, None]:
        """What the model writes next; its calls are in `turn` afterwards."""
        tools, choice = self._offered(is_last=is_last)
        options = self._question.options
        chunks = self._model.stream(
            self._messages,
            max_tokens=options.limit(self._max_tokens),
            tools=tools,
            tool_choice=choice,
            options=options.model,
        )
        async with aclosing(chunks):
            async for chunk in chunks:
                for event in self._citations.feed(turn.observe(chunk)):
                    yield self._note(event)
        for event in (*self._citations.feed(turn.close()), *self._citations.close()):
            yield self._note(event)
        self._usage += turn.usage
        self._budget.tokens += turn.usage.total_tokens or self._estimated(turn)

    def _offered(self, *, is_last: bool) -> tuple[list[ToolSpec], ToolChoice]:
        """The tools that the model may call now, and whether it has to."""
        wanted, client = self._question.tools.choice, list(self._client.values())
        own = [tool.spec for tool in self._tools.values()]
        must = isinstance(wanted, NamedTool) or wanted is ToolUse.REQUIRED
        if is_last:
            return (client, wanted) if must else ([*own, *client], ToolUse.NONE)
        return [*own, *client], wanted if must else ToolUse.AUTO

    async def _make(self, calls: Sequence[ToolCall]) -> AsyncGenerator[StepEvent, None]:
        """Make the calls at once, and give the model their results in the order in which they come."""
        numbered = list(enumerate(calls, self._calls + 1))
        self._calls += len(calls)
        made, left = numbered[: self._limits.calls], numbered[self._limits.calls :]
        for number, call in made:
            yield StepEvent(number, call.name, call.arguments, StepState.RUNNING)
        async with aclosing(self._caller.outcomes(made, seconds=self._budget.seconds_left)) as outcomes:
            async for outcome in outcomes:
                yield self._take(outcome)
        for number, call in left:
            yield self._take(Outcome(number, call, StepState.REJECTED, fault=TOO_MANY))

    def _take(self, outcome: Outcome) -> StepEvent:
        call, tool = outcome.call, self._tools.get(outcome.call.name)
        text, numbers = fault_message(outcome.fault, outcome.reason), tuple[int, ...]()
        if outcome.state is StepState.DONE:
            text, numbers = self._sources.take(outcome.result, most_characters=self._limits.characters)
        if outcome.state is StepState.UNCONFIRMED:
            self._unconfirmed.setdefault(call_key(call), call)
        # What is found once more tomorrow may be something else, unless it is of the documents, whose changes are known.
        # (What found nothing has left no document whose change would tell.)
        is_lasting = tool is not None and tool.is_of_documents and bool(outcome.result.passages)
        self._is_provisional |= not is_lasting
        self._messages.append(Message("tool", text, tool_call_id=call.id))
        return StepEvent(
            outcome.number, call.name, call.arguments, outcome.state, round(outcome.seconds, 3), len(text), numbers
        )

    def _note(self, event: AnswerEvent) -> AnswerEvent:
        if isinstance(event, TokenEvent):
            self._shown.append(event.text)
        return event

    def _framed(self, turn: Message) -> Message:
        """A turn that the caller sends along. What its tools gave is data, too."""
        if turn.role != "tool":
            return turn
        return Message("tool", data_message(turn.content, most=self._limits.characters), tool_call_id=turn.tool_call_id)

    def _estimated(self, turn: Turn) -> int:
        """The tokens of a call that its server has not counted."""
        characters = sum(len(message.content) for message in self._messages) + len(turn.text)
        return characters // CHARACTERS_PER_TOKEN
