"""Joins the answer of a second leader onto what the first one had said, so that a reader sees one answer."""

from __future__ import annotations

from headrace.types import AnswerEvent, CitationEvent, PassagesEvent, StatusEvent, TokenEvent

RESTARTED = "restarted"


class Splice:
    """What a flight says, through changes of its leader.

    A new leader begins at the start. As long as it says what was said, nobody needs to hear it again; where it departs
    from that, readers are told to forget (`restarted`), and hear it from its beginning.
    """

    def __init__(self) -> None:
        self._said: list[AnswerEvent] = []
        self._again: list[AnswerEvent] | None = None

    def begin(self) -> None:
        """A leader begins."""
        if self._said and self._again is None:
            self._again = []
        elif self._again is not None:
            self._again.clear()

    def feed(self, event: AnswerEvent) -> list[AnswerEvent]:
        """The leader says this: what readers are to hear."""
        if self._again is None:
            self._said.append(event)
            return [event]
        self._again.append(event)
        heard = self._resumed(self._again)
        if heard is not None:
            self._again = None
            self._said += heard
        return heard or []

    def _resumed(self, again: list[AnswerEvent]) -> list[AnswerEvent] | None:
        """What is to be heard once the new leader is as far as the old one was, or has departed; None until then."""
        said, text = _text(self._said), _text(again)
        last = again[-1]
        if isinstance(last, StatusEvent):
            return None
        agree = said.startswith(text) or text.startswith(said)
        if _passages(self._said) not in {None, _passages(again)} and _passages(again) is not None:
            agree = False
        if agree and len(text) < len(said):
            # It may still come to say the rest, unless it is done with its text.
            if isinstance(last, TokenEvent | CitationEvent | PassagesEvent):
                return None
            agree = False
        if not agree:
            self._said = []
            return [StatusEvent(RESTARTED), *again]
        known = {id_ for id_ in map(_identity, self._said) if id_}
        new = [event for event in again if not isinstance(event, StatusEvent | TokenEvent)]
        rest = [TokenEvent(text[len(said) :])] if len(text) > len(said) else []
        return [*rest, *(event for event in new if _identity(event) not in known)]


def without_false_starts(events: list[AnswerEvent]) -> list[AnswerEvent]:
    """A whole answer's events, without what its readers were told to forget."""
    restarts = [
        place for place, event in enumerate(events) if isinstance(event, StatusEvent) and event.stage == RESTARTED
    ]
    return events[restarts[-1] + 1 :] if restarts else events


def _text(events: list[AnswerEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TokenEvent))


def _passages(events: list[AnswerEvent]) -> tuple[object, ...] | None:
    found = (event for event in events if isinstance(event, PassagesEvent))
    event = next(found, None)
    return None if event is None else tuple(passage.chunk.identity for passage in event.passages)


def _identity(event: AnswerEvent) -> object:
    match event:
        case PassagesEvent():
            return "passages"
        case CitationEvent(citation):
            return citation.number
    return None
