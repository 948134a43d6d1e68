"""Answers in the form of OpenAI's Responses API, streamed and whole. Events in, JSON values out.

Citations are the API's own `file_citation` annotations; with quotes and places, they travel as an extra top-level key.
Reference: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from functions.chat.faults import fault_of
from functions.chat.wire.completions import origin_payload
from functions.chat.wire.in_band import InBandCitations
from functions.chat.wire.openai_bodies import ResponseBody
from functions.chat.wire.schemas import citation_payload, event_payload
from functions.chat.wire.sse import encode
from functions.chat.wire.tools import choice_payload, response_call
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
    ToolCall,
    ToolCallsEvent,
    Usage,
    UsageEvent,
)

INCOMPLETE = {FinishReason.LENGTH: "max_output_tokens", FinishReason.CONTENT_FILTER: "content_filter"}


def new_response_id() -> str:
    """A name that no other response has."""
    return f"resp_{uuid.uuid4().hex}"


class ResponseWriter:
    """Writes one answer as a response, in events or whole. `unused` are the request's parameters that changed nothing."""

    def __init__(self, body: ResponseBody, response_id: str, citations: str, unused: Sequence[str]) -> None:
        self._body = body
        self._id = response_id
        self._item_id = f"msg_{uuid.uuid4().hex}"
        self._created_at = int(time.time())
        # Text beside JSON would be none of it.
        self._is_form = body.constraint is not None
        self._in_band = InBandCitations("none" if self._is_form else citations)
        self._is_refusal = self._has_part = False
        self._unused = unused
        self._sequence = 0
        self._text: list[str] = []
        self._characters = 0
        self._annotations: list[dict[str, Any]] = []
        self._citations: list[dict[str, Any]] = []
        self._steps: list[dict[str, Any]] = []
        self._calls: tuple[ToolCall, ...] = ()
        self._usage = Usage()
        self._notice = ""
        self._done: DoneEvent | None = None

    def write(self, event: AnswerEvent) -> bytes:
        """The events that an answer's event becomes."""
        begun = b"" if self._sequence else b"".join(self._opening())
        return begun + b"".join(self._event(name, **data) for name, data in self._changes(event))

    def write_error(self, error: Exception) -> bytes:
        """A fault as the last events."""
        fault = fault_of(error)[1]["error"]
        failed = {"code": "server_error", "message": fault["message"]}
        return self._event("error", code=fault["code"], message=fault["message"], param=fault["param"]) + self._event(
            "response.failed", response={**self._response("failed"), "error": failed}
        )

    def whole(self, events: Sequence[AnswerEvent]) -> dict[str, Any]:
        """The whole answer as one `response`."""
        for event in events:
            for _ in self._changes(event):
                pass
        return self._final()

    def _opening(self) -> Iterator[bytes]:
        response = self._response("in_progress")
        yield self._event("response.created", response=response)
        yield self._event("response.in_progress", response=response)

    def _changes(self, event: AnswerEvent) -> Iterator[tuple[str, dict[str, Any]]]:
        for given in self._in_band.feed(event):
            match given:
                case StatusEvent(stage, mode, note=note):
                    self._notice = note
                    self._is_refusal = self._is_form and mode is AnswerMode.REFUSED
                    if stage is Stage.RESTARTED:
                        # What was written can't be taken back here.
                        self._citations.clear()
                        if self._text:
                            yield from self._said("\n\n")
                case TokenEvent(text):
                    yield from self._said(text)
                case CitationEvent(citation):
                    self._citations.append(citation_payload(citation))
                    chunk = citation.chunk
                    annotation = {
                        "type": "file_citation",
                        "file_id": chunk.document_key,
                        "filename": chunk.name,
                        "index": self._characters,
                    }
                    self._annotations.append(annotation)
                    number = len(self._annotations) - 1
                    added = {**self._place(), "annotation_index": number, "annotation": annotation}
                    yield "response.output_text.annotation.added", added
                case StepEvent(state=state) if state is not StepState.RUNNING:
                    self._steps.append(event_payload(given))
                case ToolCallsEvent(calls):
                    self._calls = calls
                case UsageEvent(usage):
                    self._usage = usage
                case DoneEvent():
                    self._done = given
                    yield from self._closing()

    def _begun(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The item and its part begin with the text: a refusal is another kind, and calls of tools may come without."""
        if not self._has_part:
            self._has_part = True
            yield "response.output_item.added", {"output_index": 0, "item": self._item("in_progress", [])}
            yield "response.content_part.added", {**self._place(), "part": self._part(is_empty=True)}

    def _said(self, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from self._begun()
        self._text.append(text)
        self._characters += len(text)
        if self._is_refusal:
            yield "response.refusal.delta", {**self._place(), "delta": text}
        else:
            yield "response.output_text.delta", {**self._place(), "delta": text, "logprobs": []}

    def _closing(self) -> Iterator[tuple[str, dict[str, Any]]]:
        final = self._final()
        if self._has_part or not self._calls:
            yield from self._closing_text(final)
        for place, call in enumerate(self._calls, int(self._has_part)):
            yield "response.output_item.added", {"output_index": place, "item": response_call(call, "in_progress")}
            item = response_call(call, "completed")
            where = {"item_id": item["id"], "output_index": place}
            yield "response.function_call_arguments.delta", {**where, "delta": call.arguments}
            yield "response.function_call_arguments.done", {**where, "name": call.name, "arguments": call.arguments}
            yield "response.output_item.done", {"output_index": place, "item": item}
        yield f"response.{final['status']}", {"response": final}

    def _closing_text(self, final: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from self._begun()
        text = "".join(self._text)
        if self._is_refusal:
            yield "response.refusal.done", {**self._place(), "refusal": text}
        else:
            yield "response.output_text.done", {**self._place(), "text": text, "logprobs": []}
        yield "response.content_part.done", {**self._place(), "part": self._part()}
        yield "response.output_item.done", {"output_index": 0, "item": final["output"][0]}

    def _final(self) -> dict[str, Any]:
        done = self._done
        assert done is not None, "every answer ends with a DoneEvent"  # noqa: S101
        reason = INCOMPLETE.get(done.finish_reason)
        status = "incomplete" if reason else "completed"
        usage = self._usage
        return {
            **self._response(status),
            "completed_at": int(time.time()),
            "output": self._output(status),
            "incomplete_details": {"reason": reason} if reason else None,
            "usage": {
                "input_tokens": usage.prompt_tokens,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": usage.completion_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage.total_tokens,
            },
            "citations": self._citations,
            "headrace": origin_payload(done, self._notice, self._unused, self._steps),
        }

    def _output(self, status: str) -> list[dict[str, Any]]:
        calls = [response_call(call, "completed") for call in self._calls]
        return calls if calls and not self._has_part else [self._item(status, [self._part()]), *calls]

    def _response(self, status: str) -> dict[str, Any]:
        body = self._body
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created_at,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "metadata": body.metadata or {},
            "model": body.model,
            "output": [],
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "previous_response_id": body.previous_response_id,
            "reasoning": {"effort": body.reasoning and body.reasoning.effort, "summary": None},
            "store": body.store is not False,
            "temperature": body.temperature,
            "text": {"format": self._format()},
            "tool_choice": choice_payload(body.tool_choice),
            "tools": [tool.model_dump() for tool in body.tools or ()],
            "top_p": body.top_p,
            "truncation": "disabled",
            "usage": None,
        }

    def _format(self) -> dict[str, Any]:
        form = self._body.text and self._body.text.format
        return form.model_dump(by_alias=True, exclude_none=True) if form else {"type": "text"}

    def _item(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self._item_id, "type": "message", "role": "assistant", "status": status, "content": content}

    def _part(self, *, is_empty: bool = False) -> dict[str, Any]:
        text, annotations = ("", []) if is_empty else ("".join(self._text), self._annotations)
        if self._is_refusal:
            return {"type": "refusal", "refusal": text}
        return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._item_id, "output_index": 0, "content_index": 0}

    def _event(self, name: str, /, **data: Any) -> bytes:
        data = {"type": name, "sequence_number": self._sequence, **data}
        self._sequence += 1
        return encode(data, event=name)
