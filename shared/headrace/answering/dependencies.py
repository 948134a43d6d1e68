"""What answering works with. headrace.wiring makes it from settings, tests from their own parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.protocols import AnswerCache, Answerer, AnswerJudge, Checkable, Conversations, DocumentRegistry
from headrace.retrieval.retriever import Retriever
from headrace.single_flight.flight import SingleFlight

# Below this cosine a cached question is seldom the same; a judge that reads both decides above it.
CANDIDATE_SIMILARITY = 0.75
JUDGE_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class NearQuestions:
    """How answers to near questions are shared: who judges, within which time, and how near a candidate must be."""

    judge: AnswerJudge
    timeout_seconds: float = JUDGE_TIMEOUT_SECONDS
    at_least: float = CANDIDATE_SIMILARITY


@dataclass(frozen=True, slots=True)
class AnswerDependencies:
    """What the answering pipeline works with.

    Without `near_questions` a cached answer is given to its own question alone. `checks` names each part that can say
    whether it is ready.
    """

    retriever: Retriever
    registry: DocumentRegistry
    cache: AnswerCache
    single_flight: SingleFlight
    conversations: Conversations
    answerer: Answerer
    near_questions: NearQuestions | None = None
    checks: Mapping[str, Checkable] = field(default_factory=dict)
