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

from functions.chat.wire.schemas import (
    MAX_CONVERSATION_CHARACTERS,
    MAX_QUESTION_CHARACTERS,
    MAX_TURN_CHARACTERS,
    CompletionBody,
    answer_payload,
    citation_payload,
    event_payload,
)
from functions.chat.wire.sse import encode
from headrace.errors import InvalidInputError
from headrace.types import (
    AnswerEvent,
    CitationEvent,
    DoneEvent,
    FinishReason,
    Message,
    Stage,
    StatusEvent,
    TokenEvent,
    UsageEvent,
)

DONE = encode("[DONE]")


def question_of(body: CompletionBody) -> tuple[str, list[Message]]:
    """The question and the conversation before it. Raises InvalidInputError when the last message asks nothing."""
    last = body.messages[-1]
    if last.role != "user" or not last.text.strip():
        raise InvalidInputError("The last of `messages` must be the user's question, and not empty.", param="messages")
    lengths = [len(message.text) for message in body.messages]
    for length, most, what in (
        (lengths[-1], MAX_QUESTION_CHARACTERS, "A question may have at most {} characters. Shorten the last message."),
        (max(lengths), MAX_TURN_CHARACTERS, "A message may have at most {} characters. Shorten the longest one."),
        (
            sum(lengths),
            MAX_CONVERSATION_CHARACTERS,
            "All messages may have at most {} characters. Leave out the oldest.",
        ),
    ):
        if length > most:
            raise InvalidInputError(what.format(f"{most:,}"), param="messages")
    earlier = [Message(m.role, m.text) for m in body.messages[:-1] if m.role in {"user", "assistant"}]
    return last.text, earlier


class CompletionWriter:
    """Writes one answer as `chat.completion.chunk`s."""

    def __init__(self, body: CompletionBody) -> None:
        self._model = body.model
        self._with_usage = bool(body.stream_options and body.stream_options.include_usage)
        self._head = {"id": _new_id(), "created": int(time.time())}
        self._citations: list[dict[str, Any]] = []
        self._usage: dict[str, Any] | None = None
        self._notice = ""
        self._is_first = True

    def write(self, event: AnswerEvent) -> bytes:
        """The event's chunk, or nothing where the event is kept for the last one."""
        match event:
            case StatusEvent(stage, note=note):
                self._notice = note
                if stage is Stage.RESTARTED:
                    # What was written can't be taken back here.
                    self._citations.clear()
                    return self._chunk({"content": "\n\n"})
                # Clients want the role first, and at once.
                first, self._is_first = self._is_first, False
                return self._chunk({"role": "assistant", "content": ""}) if first else b""
            case TokenEvent(text):
                return self._chunk({"content": text})
            case CitationEvent(citation):
                self._citations.append(citation_payload(citation))
            case UsageEvent():
                self._usage = event_payload(event)
            case DoneEvent():
                return self._last(event)
        return b""

    def _last(self, event: DoneEvent) -> bytes:
        extra = {"citations": self._citations, "headrace": _origin(event, self._notice)}
        last = self._chunk({}, finish_reason=_finish_reason(event), **extra)
        usage = self._chunk(None, usage=self._usage) if self._with_usage else b""
        return last + usage + DONE

    def _chunk(self, delta: dict[str, Any] | None, *, finish_reason: str | None = None, **extra: object) -> bytes:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
        return encode(
            {**self._head, "object": "chat.completion.chunk", "model": self._model, "choices": choices, **extra}
        )


def completion(body: CompletionBody, events: Sequence[AnswerEvent]) -> dict[str, Any]:
    """The whole answer as one `chat.completion`."""
    answer = answer_payload(events)
    done = next(event for event in events if isinstance(event, DoneEvent))
    message = {"role": "assistant", "content": answer["answer"], "refusal": None}
    return {
        "id": _new_id(),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.model,
        "choices": [{"index": 0, "message": message, "finish_reason": _finish_reason(done), "logprobs": None}],
        "usage": answer["usage"],
        "citations": answer["citations"],
        "headrace": _origin(done, answer["notice"]),
    }


def models(name: str) -> dict[str, Any]:
    """`GET /v1/models`: one model, named after what writes the answers."""
    return {"object": "list", "data": [model(name)]}


def model(name: str) -> dict[str, Any]:
    """`GET /v1/models/{id}`."""
    return {"id": name, "object": "model", "created": 1_780_000_000, "owned_by": "headrace"}


def _finish_reason(event: DoneEvent) -> str:
    """In OpenAI's words, of which `refused` is none."""
    return FinishReason.STOP if event.finish_reason is FinishReason.REFUSED else event.finish_reason


def _origin(event: DoneEvent, notice: str) -> dict[str, Any]:
    return {"mode": event.mode, "cached": event.cached, "notice": notice, "answer_id": event.answer_id}


def _new_id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"
