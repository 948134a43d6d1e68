"""Joins a second leader's answer onto what the first one had said, so that subscribers get one answer."""

from __future__ import annotations

from headrace.types import AnswerEvent, CitationEvent, PassagesEvent, Stage, StatusEvent, TokenEvent, text_of


class Splice:
    """The events of a flight, through changes of its leader.

    A new leader begins at the start. While its text repeats what was said, subscribers get nothing; where it differs,
    they are told to forget (`restarted`), and get the new answer from its beginning.
    """

    def __init__(self) -> None:
        self._said: list[AnswerEvent] = []
        # What the present leader has said, as long as it repeats an earlier one; None when it goes on from there.
        self._repeated: list[AnswerEvent] | None = None

    def begin(self) -> None:
        """A leader begins."""
        if self._said and self._repeated is None:
            self._repeated = []
        elif self._repeated is not None:
            self._repeated.clear()

    def feed(self, event: AnswerEvent) -> list[AnswerEvent]:
        """The leader's next event in, the events for subscribers out."""
        if self._repeated is None:
            self._said.append(event)
            return [event]
        self._repeated.append(event)
        news = self._resumed(self._repeated)
        if news is not None:
            self._repeated = None
            self._said += news
        return news or []

    def _resumed(self, repeated: list[AnswerEvent]) -> list[AnswerEvent] | None:
        """The news, once the new leader is as far as the old one was, or differs from it; None until then."""
        said, text = text_of(self._said), text_of(repeated)
        last = repeated[-1]
        if isinstance(last, StatusEvent):
            return None
        agrees = said.startswith(text) or text.startswith(said)
        if _passages(self._said) not in {None, _passages(repeated)} and _passages(repeated) is not None:
            agrees = False
        if agrees and len(text) < len(said):
            # The rest may still come, unless the leader has finished its text.
            if isinstance(last, TokenEvent | CitationEvent | PassagesEvent):
                return None
            agrees = False
        if not agrees:
            self._said = []
            return [StatusEvent(Stage.RESTARTED), *repeated]
        known = {id_ for id_ in map(_identity, self._said) if id_}
        new = [event for event in repeated if not isinstance(event, StatusEvent | TokenEvent)]
        rest = [TokenEvent(text[len(said) :])] if len(text) > len(said) else []
        return [*rest, *(event for event in new if _identity(event) not in known)]


def without_false_starts(events: list[AnswerEvent]) -> list[AnswerEvent]:
    """A whole answer's events, without what subscribers were told to forget."""
    restarts = [
        position
        for position, event in enumerate(events)
        if isinstance(event, StatusEvent) and event.stage is Stage.RESTARTED
    ]
    return events[restarts[-1] + 1 :] if restarts else events


def _passages(events: list[AnswerEvent]) -> tuple[object, ...] | None:
    found = (event for event in events if isinstance(event, PassagesEvent))
    event = next(found, None)
    return None if event is None else tuple(passage.chunk.identity for passage in event.passages)


def _identity(event: AnswerEvent) -> object:
    match event:
        case PassagesEvent():
            return "passages"
        case CitationEvent(citation):
            return citation.number, citation.start, citation.end
    return None
