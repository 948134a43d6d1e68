"""One call of a tool: checked, made within its time, and come to a result in any case."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from headrace.constrained.checking import check_text
from headrace.constrained.reasons import ConstraintError
from headrace.errors import InvalidInputError, ToolError, UnavailableError
from headrace.protocols import Tool
from headrace.types import Principal, StepState, ToolCall, ToolResult

# What a model reads of a call that came to nothing. None of it is a stranger's text.
UNKNOWN = "There is no tool of this name."
UNCONFIRMED = "Not done: this changes something, and the reader has not allowed it yet. Say what it would do, and ask."
DONE_ALREADY = "Not done again: this very call has been made already, and was allowed once."
TOO_MANY = "Not called: so many calls at once are too many. Call it again, if you still need it."
LATE = "The tool did not answer in time."
UNAVAILABLE = "The tool is not available at present."
FAILED = "The tool failed."
FAILED_WITH = "The tool failed, and says why:"
WRONG = "The arguments are wrong:"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended: what it gave, or the `fault`, a fixed sentence, with a `reason` that may quote strangers.

    `ended_at` is on the monotonic clock.
    """

    number: int
    call: ToolCall
    state: StepState
    seconds: float = 0.0
    result: ToolResult = field(default_factory=ToolResult)
    fault: str = ""
    reason: str = ""
    ended_at: float = field(default_factory=time.monotonic)


class Caller:
    """Calls tools for one asker. `allowed` are the calls of tools that write which the asker has allowed, each of them once."""

    def __init__(self, tools: Mapping[str, Tool], principal: Principal, allowed: Iterable[ToolCall]) -> None:
        self._tools = tools
        self._principal = principal
        self._allowed = set(map(call_key, allowed))
        self._made: set[tuple[str, str]] = set()

    async def outcomes(self, calls: Sequence[tuple[int, ToolCall]], *, seconds: float) -> AsyncGenerator[Outcome, None]:
        """Make these calls at once; their outcomes as they come. Leaving ends those that are under way."""
        tasks = {asyncio.create_task(self._outcome(number, call, seconds)) for number, call in calls}
        pending = set(tasks)
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for outcome in sorted((task.result() for task in done), key=lambda each: each.ended_at):
                    yield outcome
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    async def _outcome(self, number: int, call: ToolCall, seconds: float) -> Outcome:
        tool = self._tools.get(call.name)
        if tool is None:
            return Outcome(number, call, StepState.REJECTED, fault=UNKNOWN)
        try:
            arguments = read_arguments(call, tool)
        except ConstraintError as error:
            return Outcome(number, call, StepState.REJECTED, fault=WRONG, reason=str(error))
        if tool.writes:
            key = call_key(call)
            if key in self._made:
                return Outcome(number, call, StepState.REJECTED, fault=DONE_ALREADY)
            if key not in self._allowed:
                return Outcome(number, call, StepState.UNCONFIRMED, fault=UNCONFIRMED)
            # A permission is for one call, whatever comes of it.
            self._allowed.discard(key)
            self._made.add(key)
        began = time.monotonic()
        state, result, fault, reason = StepState.FAILED, ToolResult(), FAILED, ""
        try:
            async with asyncio.timeout(min(tool.timeout_seconds, seconds)):
                result = await tool.call(arguments, self._principal)
            state, fault = StepState.DONE, ""
        except (ToolError, InvalidInputError) as error:
            fault, reason = FAILED_WITH, str(error)
        except TimeoutError:
            state, fault = StepState.TIMED_OUT, LATE
        except UnavailableError as error:
            logger.warning("the tool %s is not available: %s", call.name, error)
            fault = UNAVAILABLE
        except Exception:
            # What went wrong is for the owner's log, not for a model or a reader.
            logger.exception("the tool %s failed", call.name)
        return Outcome(number, call, state, time.monotonic() - began, result, fault, reason)


def read_arguments(call: ToolCall, tool: Tool) -> dict[str, object]:
    """The call's arguments, which satisfy the tool's schema. Raises ConstraintError."""
    check_text(call.arguments, tool.spec.arguments)
    arguments = json.loads(call.arguments)
    if not isinstance(arguments, dict):
        raise ConstraintError("They must be a JSON object.")
    return arguments


def call_key(call: ToolCall) -> tuple[str, str]:
    """What makes two calls the same: the tool, and the arguments whatever their order and spaces."""
    try:
        return call.name, json.dumps(json.loads(call.arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return call.name, call.arguments
