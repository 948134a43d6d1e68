"""What goes over the wire: the events' payloads, whole answers, documents, errors, as JSON values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, get_args

from headrace.types import (
    AnswerEvent,
    CacheStats,
    Citation,
    CitationEvent,
    Conversation,
    Document,
    DocumentKey,
    DoneEvent,
    Message,
    Passage,
    PassagesEvent,
    StatusEvent,
    StepEvent,
    StepState,
    TokenEvent,
    ToolCall,
    ToolCallsEvent,
    UploadForm,
    Usage,
    UsageEvent,
)

# The tag of each kind of event.
NAMES = {kind: str(kind.__struct_config__.tag) for kind in get_args(AnswerEvent)}


def event_name(event: AnswerEvent) -> str:
    """The SSE event's name: the tag of its type."""
    return NAMES[type(event)]


def event_payload(event: AnswerEvent) -> dict[str, Any]:
    """The SSE event's data."""
    match event:
        case TokenEvent(text):
            return {"text": text}
        case StatusEvent():
            return _status_payload(event)
        case PassagesEvent(passages):
            return {"passages": [passage_payload(number, passage) for number, passage in enumerate(passages, 1)]}
        case CitationEvent(citation):
            return citation_payload(citation)
        case StepEvent():
            return _step_payload(event)
        case ToolCallsEvent(calls):
            return {"calls": [call_payload(call) for call in calls]}
        case UsageEvent(usage):
            return usage_payload(usage)
        case DoneEvent():
            fields = {name: getattr(event, name) for name in event.__struct_fields__}
            return {
                **fields,
                "unsupported": unsupported_payload(event),
                "nearest": list(event.nearest),
                "unconfirmed": [call_payload(call) for call in event.unconfirmed],
            }


def _step_payload(event: StepEvent) -> dict[str, Any]:
    """A call of a tool: at its beginning without what only its end tells."""
    payload: dict[str, Any] = {
        "number": event.number,
        "tool": event.tool,
        "arguments": arguments_payload(event.arguments),
        "state": event.state,
    }
    if event.seconds is not None:
        payload |= {"seconds": event.seconds, "characters": event.characters, "passages": list(event.passages)}
    return payload


def call_payload(call: ToolCall) -> dict[str, Any]:
    """A call of a tool, as `allow` takes it."""
    return {"tool": call.name, "arguments": arguments_payload(call.arguments)}


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def arguments_payload(arguments: str) -> Any:
    """A call's arguments as a JSON value; as text where a model wrote none."""
    try:
        return json.loads(arguments or "{}", parse_constant=_refuse)
    except (ValueError, RecursionError):
        return arguments


def unsupported_payload(event: DoneEvent) -> list[dict[str, str]]:
    """The sentences that the passages do not bear out, and why."""
    return [{"sentence": each.sentence, "doubt": each.doubt, "words": each.words} for each in event.unsupported]


def _status_payload(event: StatusEvent) -> dict[str, Any]:
    """What the event says; what it leaves at its default goes unsaid."""
    payload: dict[str, Any] = {
        "stage": event.stage,
        "mode": event.mode,
        "note": event.note or None,
        "cache": event.cache,
        "age_seconds": event.age_seconds,
        "similarity": None if event.similarity is None else round(event.similarity, 4),
        "judge_tokens": event.judge_tokens or None,
        "question": event.question or None,
        "reading_tokens": event.reading_tokens or None,
    }
    return {name: value for name, value in payload.items() if value is not None}


def usage_payload(usage: Usage) -> dict[str, int]:
    """Tokens in OpenAI's words."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def passage_payload(number: int, passage: Passage) -> dict[str, Any]:
    """A passage as the reader sees it; `score` is what passages are ranked by, `similarity` the cosine to the question."""
    chunk = passage.chunk
    return {
        "number": number,
        "document": chunk.document_key,
        "name": chunk.name,
        "place": chunk.place,
        "page": chunk.page,
        "section": list(chunk.section),
        "text": chunk.text,
        **({"html": chunk.html} if chunk.html else {}),
        "score": round(passage.score, 4),
        "similarity": round(passage.similarity or 0.0, 4),
    }


def citation_payload(citation: Citation) -> dict[str, Any]:
    """A citation: the document, the place in it, and the quote, at `start` to `end` of the passage's text."""
    chunk = citation.chunk
    return {
        "number": citation.number,
        "document": chunk.document_key,
        "name": chunk.name,
        "place": chunk.place,
        "page": chunk.page,
        "section": list(chunk.section),
        "quote": citation.quote,
        "start": citation.start,
        "end": citation.end,
        **({"path": citation.path} if citation.path is not None else {}),
    }


def answer_payload(events: Sequence[AnswerEvent], *, with_contexts: bool = False) -> dict[str, Any]:
    """A whole answer as one JSON value; its passages, where that is wanted, with the text around them that was read."""
    payload: dict[str, Any] = {"answer": "", "citations": [], "passages": [], "notice": "", "steps": []}
    for event in events:
        match event:
            case TokenEvent(text):
                payload["answer"] += text
            case CitationEvent(citation):
                payload["citations"].append(citation_payload(citation))
            case PassagesEvent(passages):
                payload["passages"] = event_payload(event)["passages"]
                for told, passage in zip(payload["passages"], passages, strict=True) if with_contexts else ():
                    told["context"] = passage.context or passage.chunk.text
            case StepEvent(state=state) if state is not StepState.RUNNING:
                payload["steps"].append(event_payload(event))
            case UsageEvent():
                payload["usage"] = event_payload(event)
            case StatusEvent(note=note):
                payload["notice"] = note
            case DoneEvent():
                payload |= event_payload(event)
    return payload


def document_payload(document: Document, *, history: bool = False) -> dict[str, Any]:
    """A document's state as `GET /documents` shows it. Times are in seconds since the epoch, `progress` from 0 to 1."""
    steps = [{"at": step.at, "state": step.state, "reason": step.reason} for step in document.history]
    return {
        **({"history": steps} if history else {}),
        "key": document.key,
        "name": document.name,
        "state": document.state,
        "reason": document.reason,
        "notes": list(document.notes),
        "size_bytes": document.size_bytes,
        "chunks": document.chunks,
        "searchable": document.generation is not None,
        "progress": document.progress,
        "groups": list(document.groups),
        "tags": list(document.tags),
        "language": document.language,
        "context_tokens": document.context_tokens,
        "etag": document.etag,
        "version_id": document.version_id,
        "uploaded_at": document.uploaded_at,
        "started_at": document.started_at,
        "updated_at": document.updated_at,
        "ready_at": document.ready_at,
    }


def upload_payload(key: DocumentKey, form: UploadForm, *, max_bytes: int) -> dict[str, Any]:
    """A form to be posted as `multipart/form-data` to `url`: every field as it is, then the file as the field `file`."""
    return {
        "key": key.key,
        "name": key.name,
        "url": form.url,
        "fields": dict(form.fields),
        "expires_at": form.expires_at,
        "max_bytes": max_bytes,
    }


def conversation_payload(conversation: Conversation) -> dict[str, Any]:
    """A conversation as `GET /conversations` lists it; the time is in seconds since the epoch."""
    return {"id": conversation.id, "title": conversation.title, "updated_at": conversation.updated_at}


def transcript(turns: Sequence[Message]) -> str:
    """A conversation as Markdown."""
    return "\n\n".join(f"**{turn.role.capitalize()}:** {turn.content}" for turn in turns) + "\n"


def stats_payload(stats: CacheStats) -> dict[str, Any]:
    """What a tenant's cache has done since it began, and holds; `invalidated` says why entries left."""
    return {
        "lookups": stats.lookups,
        "hits": {"exact": stats.exact_hits, "semantic": stats.semantic_hits},
        "hit_rate": round(stats.hit_rate, 4),
        "judged": stats.judged,
        "judge_tokens": stats.judge_tokens,
        "tokens_saved": stats.tokens_saved,
        "remembered": stats.remembered,
        "entries": stats.entries,
        "bytes": stats.bytes,
        "partitions": stats.partitions,
        "warm_candidates": stats.warm_candidates,
        "invalidated": dict(stats.invalidated),
    }


def error_payload(message: str, *, code: str, kind: str, param: str | None = None) -> dict[str, Any]:
    """Every error's body, in OpenAI's form: `{"error": {message, type, param, code}}`."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
