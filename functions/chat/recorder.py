"""Collects one answer's record for the ledger from its events."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from functions.chat.metrics import AnswerMetrics
from headrace.errors import AbandonedError
from headrace.types import (
    AnswerEvent,
    AnswerRecord,
    CitationEvent,
    DoneEvent,
    PassagesEvent,
    Question,
    RecordedCitation,
    RecordedPassage,
    RecordedStep,
    Stage,
    StatusEvent,
    StepEvent,
    StepState,
    TokenEvent,
)

# A record is for reading, and waits in Redis: what is longer is cut.
MOST_CHARACTERS = 20_000
MOST_QUOTE_CHARACTERS = 500


@dataclass(slots=True)
class Recorder:
    """What is known of an answer so far. `id` is what its asker names it by."""

    id: str
    question: Question
    began_at: float = field(default_factory=time.time)
    _texts: list[str] = field(default_factory=list)
    _asked_as: str = ""
    _passages: PassagesEvent | None = None
    _citations: list[CitationEvent] = field(default_factory=list)
    _steps: list[RecordedStep] = field(default_factory=list)
    _done: DoneEvent | None = None

    def observe(self, event: AnswerEvent) -> None:
        """Take note of the answer's next event."""
        match event:
            case TokenEvent(text):
                self._texts.append(text)
            case StatusEvent():
                self._note(event)
            case PassagesEvent():
                self._passages = event
            case CitationEvent():
                self._citations.append(event)
            case StepEvent(state=state) if state is not StepState.RUNNING:
                self._steps.append(RecordedStep(event.tool, state, round(event.seconds or 0.0, 3)))
            case DoneEvent():
                self._done = event

    def _note(self, event: StatusEvent) -> None:
        if event.stage is Stage.RESTARTED:
            self._texts.clear()
            self._citations.clear()
        self._asked_as = event.question or self._asked_as

    def record(self, figures: AnswerMetrics) -> AnswerRecord:
        """The answer's record, as far as it came, with its figures."""
        asker, done = self.question.principal, self._done
        first = figures.first_token_seconds
        cited = {event.citation.number for event in self._citations}
        found = self._passages.passages if self._passages else ()
        return AnswerRecord(
            id=self.id,
            tenant=asker.tenant,
            principal=asker.owner,
            at=round(self.began_at, 3),
            question=self.question.text[:MOST_CHARACTERS],
            asked_as=self._asked_as,
            answer="".join(self._texts)[:MOST_CHARACTERS],
            mode=str(figures.mode),
            verdict=str(figures.verdict or ""),
            finish=str(done.finish_reason) if done else "",
            error=figures.error or ("" if done else AbandonedError.code),
            model=figures.model,
            is_fallback=done.fallback if done else False,
            prompt_tokens=figures.prompt_tokens,
            completion_tokens=figures.completion_tokens,
            judge_tokens=figures.judge_tokens,
            tokens_spent=figures.tokens_spent,
            seconds=round(time.time() - self.began_at, 3),
            first_token_seconds=None if first is None else round(first, 3),
            passages=tuple(
                RecordedPassage(
                    number,
                    passage.chunk.document_key,
                    passage.chunk.place,
                    round(passage.score, 4),
                    round(passage.similarity or 0.0, 4),
                    number in cited,
                )
                for number, passage in enumerate(found, 1)
            ),
            citations=tuple(
                RecordedCitation(
                    each.citation.number, each.citation.chunk.document_key, each.citation.quote[:MOST_QUOTE_CHARACTERS]
                )
                for each in self._citations
            ),
            steps=tuple(self._steps),
            nearest=done.nearest if done else (),
            unsupported=tuple(each.sentence for each in done.unsupported) if done else (),
            answer_id=(done.answer_id or "") if done else "",
            conversation_id=(done.conversation_id or "") if done else "",
        )
