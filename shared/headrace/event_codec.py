"""Answer events to plain JSON values and back, losslessly: what a cache keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from headrace.types import (
    AnswerEvent,
    AnswerMode,
    Chunk,
    Citation,
    CitationEvent,
    DoneEvent,
    Passage,
    PassagesEvent,
    StatusEvent,
    TokenEvent,
    Usage,
    UsageEvent,
)

_KINDS = {
    kind.__name__: kind for kind in (StatusEvent, PassagesEvent, TokenEvent, CitationEvent, UsageEvent, DoneEvent)
}


def event_to_json(event: AnswerEvent) -> dict[str, Any]:
    """The event's fields, with its kind under `kind`."""
    return {"kind": type(event).__name__, **dataclasses.asdict(event)}


def event_from_json(fields: Mapping[str, Any]) -> AnswerEvent:
    """The event that `event_to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    kind = fields["kind"]
    if kind == "TokenEvent":
        # Most events are.
        return TokenEvent(fields["text"])
    rest = dict(fields)
    del rest["kind"]
    match kind:
        case "PassagesEvent":
            return PassagesEvent(tuple(Passage(**{**p, "chunk": _chunk(p["chunk"])}) for p in rest["passages"]))
        case "CitationEvent":
            citation = rest["citation"]
            return CitationEvent(Citation(**{**citation, "chunk": _chunk(citation["chunk"])}))
        case "UsageEvent":
            return UsageEvent(Usage(**rest["usage"]))
        case kind:
            if rest.get("mode") is not None:
                rest["mode"] = AnswerMode(rest["mode"])
            return _KINDS[kind](**rest)


def _chunk(fields: Mapping[str, Any]) -> Chunk:
    return Chunk(**{**fields, **{name: tuple(fields[name]) for name in ("section", "groups", "tags")}})
