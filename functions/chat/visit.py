"""One question on its way through the application: let in, counted, and what it takes up given back at its end."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from functions.chat.load import Load, Search
from functions.chat.metrics import AnswerMetrics
from functions.chat.recorder import Recorder
from headrace.errors import OverloadedError
from headrace.protocols import Span
from headrace.runs.run import Run
from headrace.types import AnswerEvent, AnswerRecord, Principal, Question, Stage, StatusEvent

# Where it stands in the request's ASGI scope.
VISIT = "headrace.visit"


@dataclass(slots=True)
class Visit:
    """One request that came through the door: who asks, the answer that is made for it, and its figures.

    `id` names the request, its run and its record, which is made where `is_recorded`. It `is_asked` once an answer is begun.
    """

    principal: Principal
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    metrics: AnswerMetrics = field(default_factory=AnswerMetrics)
    headers: Mapping[str, str] = field(default_factory=dict)
    run: Run | None = None
    span: Span | None = None
    is_recorded: bool = False
    is_asked: bool = False
    _search: Search | None = None
    _recorder: Recorder | None = None

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

    def begin_answer(self, question: Question, load: Load, *, asked: str) -> None:
        """An answer to this question is made from now on, by the model of that name. Raises OverloadedError when there are too many."""
        self.metrics.asked = asked
        self.begin_search(load)
        self.is_asked = True
        if self.is_recorded:
            self._recorder = Recorder(self.id, question)

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
        if self._recorder is not None:
            self._recorder.observe(event)
        if not (isinstance(event, StatusEvent) and event.stage is Stage.SEARCHING):
            self.end()

    def fail(self, error: BaseException) -> None:
        """The answer ends with this fault."""
        self.metrics.fail(error)

    def record(self) -> AnswerRecord | None:
        """What the ledger keeps of the answer; None where none was made."""
        return None if self._recorder is None else self._recorder.record(self.metrics)

    def close(self) -> None:
        """Nothing more comes of it."""
        self.end()
        if self.run is not None and self.run.fault is not None:
            self.fail(self.run.fault)

    def end(self) -> None:
        """What was searched for is found, or nobody waits for it any longer."""
        if self._search is not None:
            self._search.end()
