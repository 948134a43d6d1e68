"""Answers in OpenAI's Chat Completions form, streamed and whole. Events in, JSON values out.

Citations travel as an extra top-level key on the chunk that carries
`finish_reason`: every client tolerates that, and none tolerates more
(docs/decisions.md). Reference: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

from functions.chat.faults import fault_of
from functions.chat.wire.in_band import InBandCitations
from functions.chat.wire.openai_bodies import CompletionBody
from functions.chat.wire.schemas import (
    answer_payload,
    call_payload,
    citation_payload,
    event_payload,
    unsupported_payload,
)
from functions.chat.wire.sse import encode
from functions.chat.wire.tools import completion_calls
from headrace.types import (
    AnswerEvent,
    AnswerMode,
    CitationEvent,
    DoneEvent,
    FinishReason,
    Stage,
    StatusEvent,
    StepEvent,
    StepState,
    TokenEvent,
    ToolCallsEvent,
    UsageEvent,
)

DONE = encode("[DONE]")


class CompletionWriter:
    """Writes one answer as `chat.completion.chunk`s, or whole. `unused` are the request's parameters that changed nothing."""

    def __init__(self, body: CompletionBody, citations: str, unused: Sequence[str]) -> None:
        self._model = body.model
        # Text beside JSON would be none of it.
        self._is_form = body.constraint is not None
        self._in_band = InBandCitations("none" if self._is_form else citations)
        self._is_refusal = False
        self._unused = unused
        self._with_usage = bool(body.stream_options and body.stream_options.include_usage)
        self._head = {"id": _new_id(), "created": int(time.time())}
        self._citations: list[dict[str, Any]] = []
        self._usage: dict[str, Any] | None = None
        self._steps: list[dict[str, Any]] = []
        self._notice = ""
        self._is_first = True

    def write(self, event: AnswerEvent) -> bytes:
        """The event's chunk, or nothing where the event is kept for the last one."""
        return b"".join(map(self._write, self._in_band.feed(event)))

    def write_error(self, error: Exception) -> bytes:
        """A fault as the last chunk."""
        return encode(fault_of(error)[1])

    def whole(self, events: Sequence[AnswerEvent]) -> dict[str, Any]:
        """The whole answer as one `chat.completion`."""
        answer = answer_payload([given for event in events for given in self._in_band.feed(event)])
        done = next(event for event in events if isinstance(event, DoneEvent))
        is_refusal = self._is_form and done.mode is AnswerMode.REFUSED
        said = (
            {"content": None, "refusal": answer["answer"]}
            if is_refusal
            else {"content": answer["answer"], "refusal": None}
        )
        calls = [call for event in events if isinstance(event, ToolCallsEvent) for call in event.calls]
        if calls:
            said = {"content": answer["answer"] or None, "tool_calls": completion_calls(calls, is_delta=False)}
        message = {"role": "assistant", **said}
        return {
            **self._head,
            "object": "chat.completion",
            "model": self._model,
            "choices": [{"index": 0, "message": message, "finish_reason": _finish_reason(done), "logprobs": None}],
            "usage": answer["usage"],
            "citations": answer["citations"],
            "headrace": origin_payload(done, answer["notice"], self._unused, answer["steps"]),
        }

    def _write(self, event: AnswerEvent) -> bytes:
        match event:
            case StatusEvent(stage, mode, note=note):
                self._notice = note
                self._is_refusal = self._is_form and mode is AnswerMode.REFUSED
                if stage is Stage.RESTARTED:
                    # What was written can't be taken back here.
                    self._citations.clear()
                    return self._chunk({"content": "\n\n"})
                # Clients want the role first, and at once.
                first, self._is_first = self._is_first, False
                return self._chunk({"role": "assistant", "content": ""}) if first else b""
            case TokenEvent(text):
                return self._chunk({"refusal" if self._is_refusal else "content": text})
            case CitationEvent(citation):
                self._citations.append(citation_payload(citation))
            case StepEvent(state=state):
                step = event_payload(event)
                if state is not StepState.RUNNING:
                    self._steps.append(step)
                return self._chunk({}, headrace={"step": step})
            case ToolCallsEvent(calls):
                return self._chunk({"tool_calls": completion_calls(calls, is_delta=True)})
            case UsageEvent():
                self._usage = event_payload(event)
            case DoneEvent():
                return self._last(event)
        return b""

    def _last(self, event: DoneEvent) -> bytes:
        extra = {
            "citations": self._citations,
            "headrace": origin_payload(event, self._notice, self._unused, self._steps),
        }
        last = self._chunk({}, finish_reason=_finish_reason(event), **extra)
        usage = self._chunk(None, usage=self._usage) if self._with_usage else b""
        return last + usage + DONE

    def _chunk(self, delta: dict[str, Any] | None, *, finish_reason: str | None = None, **extra: object) -> bytes:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
        return encode(
            {**self._head, "object": "chat.completion.chunk", "model": self._model, "choices": choices, **extra}
        )


def models(names: Sequence[str]) -> dict[str, Any]:
    """`GET /v1/models`."""
    return {"object": "list", "data": [model(name) for name in names]}


def model(name: str) -> dict[str, Any]:
    """`GET /v1/models/{id}`."""
    return {"id": name, "object": "model", "created": 1_780_000_000, "owned_by": "headrace"}


def _finish_reason(event: DoneEvent) -> str:
    """In OpenAI's words, of which `refused` is none."""
    return FinishReason.STOP if event.finish_reason is FinishReason.REFUSED else event.finish_reason


def origin_payload(
    event: DoneEvent, notice: str, unused: Sequence[str], steps: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Where an answer comes from, in this server's own words."""
    return {
        "mode": event.mode,
        "cached": event.cached,
        "notice": notice,
        "answer_id": event.answer_id,
        "model": event.model,
        "fallback": event.fallback,
        "forgotten": event.forgotten,
        "unsupported": unsupported_payload(event),
        "nearest": list(event.nearest),
        "unread": event.unread,
        "constraint": event.constraint,
        "captures": event.captures,
        "steps": list(steps),
        "limit": event.limit,
        "unconfirmed": [call_payload(call) for call in event.unconfirmed],
        "unused": list(unused),
    }


def _new_id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"
