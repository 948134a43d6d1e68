"""Answer events to plain JSON values and back, losslessly: what a cache keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
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


def event_to_json(event: AnswerEvent) -> dict[str, Any]:
    """The event's fields, with its kind under `kind`."""
    return {"kind": type(event).__name__, **dataclasses.asdict(event)}


def event_from_json(fields: Mapping[str, Any]) -> AnswerEvent:
    """The event that `event_to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    return event_of(fields["kind"], {name: value for name, value in fields.items() if name != "kind"})


def event_of(kind: str, fields: dict[str, Any]) -> AnswerEvent:
    """The event of this kind with these fields, as JSON has them; they are used up. Raises what `event_from_json` raises."""
    return _READERS[kind](fields)


def _status(fields: dict[str, Any]) -> StatusEvent:
    if fields.get("mode") is not None:
        fields["mode"] = AnswerMode(fields["mode"])
    return StatusEvent(**fields)


def _done(fields: dict[str, Any]) -> DoneEvent:
    fields["mode"] = AnswerMode(fields["mode"])
    return DoneEvent(**fields)


def _passages(fields: dict[str, Any]) -> PassagesEvent:
    return PassagesEvent(tuple(Passage(**{**p, "chunk": _chunk(p["chunk"])}) for p in fields["passages"]))


def _citation(fields: dict[str, Any]) -> CitationEvent:
    citation = fields["citation"]
    return CitationEvent(Citation(**{**citation, "chunk": _chunk(citation["chunk"])}))


def _chunk(fields: Mapping[str, Any]) -> Chunk:
    return Chunk(**{**fields, **{name: tuple(fields[name]) for name in ("section", "groups", "tags")}})


_READERS: Mapping[str, Callable[[dict[str, Any]], AnswerEvent]] = {
    "StatusEvent": _status,
    "PassagesEvent": _passages,
    "TokenEvent": lambda fields: TokenEvent(**fields),
    "CitationEvent": _citation,
    "UsageEvent": lambda fields: UsageEvent(Usage(**fields["usage"])),
    "DoneEvent": _done,
}
