"""One question on its way through the application: let in, counted, and what it takes up given back at its end."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from functions.chat.load import Load, Search
from functions.chat.metrics import AnswerMetrics
from headrace.errors import OverloadedError
from headrace.runs.run import Run
from headrace.types import AnswerEvent, Principal, Stage, StatusEvent

# Where it stands in the request's ASGI scope.
VISIT = "headrace.visit"


@dataclass(slots=True)
class Visit:
    """One request that came through the door: who asks, the answer that is made for it, and its figures."""

    principal: Principal
    metrics: AnswerMetrics = field(default_factory=AnswerMetrics)
    headers: Mapping[str, str] = field(default_factory=dict)
    run: Run | None = None
    _search: Search | None = None

    async def leave(self, place: AsyncExitStack, *, is_lambda: bool) -> None:
        """The request is over. What it has taken up, `place`, is its run's from now on, if that goes on without a reader.

        An environment that Lambda freezes would make and tell the rest to nobody: there it is waited for.
        """
        if self.run is None:
            return
        if self.run.is_over or is_lambda:
            await self.run.settled()
        else:
            self.run.close_at_end(place.pop_all())

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
