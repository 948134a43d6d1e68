"""What the door hands to the routes about a request."""

from __future__ import annotations

from dataclasses import dataclass, field

from functions.chat.load import Load, Search
from functions.chat.metrics import AnswerMetrics
from headrace.errors import OverloadedError
from headrace.types import AnswerEvent, Principal, Stage, StatusEvent

# Where it stands in the request's ASGI scope.
VISIT = "headrace.visit"


@dataclass(slots=True)
class Visit:
    """One request that came through the door: who asks, and the figures of the answer that it gets."""

    principal: Principal
    metrics: AnswerMetrics = field(default_factory=AnswerMetrics)
    _search: Search | None = None

    def begin_search(self, load: Load) -> None:
        """Raises OverloadedError when there are too many."""
        try:
            self._search = load.search()
        except OverloadedError as error:
            self.metrics.refused_for = error.code
            raise

    def observe(self, event: AnswerEvent) -> None:
        """Take note of the answer's next event."""
        self.metrics.observe(event)
        if not (isinstance(event, StatusEvent) and event.stage is Stage.SEARCHING):
            self.end()

    def end(self) -> None:
        """What was searched for is found, or nobody waits for it any longer."""
        if self._search is not None:
            self._search.end()
