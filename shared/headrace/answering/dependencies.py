"""What answering works with. headrace.wiring makes it from settings, tests from their own parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from headrace.answering.dialogue import DialogueManager
from headrace.errors import UnknownModelError, UnsupportedParameterError
from headrace.protocols import (
    AnswerCache,
    Answerer,
    AnswerJudge,
    Checkable,
    Conversations,
    DocumentRegistry,
    ToolSource,
)
from headrace.retrieval.retriever import Retriever
from headrace.single_flight.flight import SingleFlight

# What the default answerer is called, whichever it is: a client's configuration holds when a language model comes or goes.
DEFAULT_MODEL = "headrace"
AGENT_MODEL = "headrace-agent"
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

    `answerer` is the default one, `other_answerers` are there by name. Without `near_questions` a cached answer is given
    to its own question alone; without `dialogue` messages are taken as they stand. `tool_caller` is
    the default answerer where a caller brings tools along; none where no language model is.
    `document_tools` are the documents' own, for others' agents. `checks` names each part that can say whether it is ready.
    """

    retriever: Retriever
    registry: DocumentRegistry
    cache: AnswerCache
    single_flight: SingleFlight
    conversations: Conversations
    answerer: Answerer
    other_answerers: Mapping[str, Answerer] = field(default_factory=dict)
    near_questions: NearQuestions | None = None
    dialogue: DialogueManager | None = None
    tool_caller: Answerer | None = None
    document_tools: ToolSource | None = None
    checks: Mapping[str, Checkable] = field(default_factory=dict)

    def with_client_tools(self) -> AnswerDependencies:
        """The same for a caller that brings tools along. Raises UnsupportedParameterError where none can be called."""
        if self.answerer.searches:
            return self
        if self.tool_caller is None or not self.answerer.keeps_forms:
            raise UnsupportedParameterError(
                "`tools` takes a language model, and this model quotes. Leave it out, or configure one (CHAT_MODEL).",
                param="tools",
            )
        return replace(self, answerer=self.tool_caller, near_questions=None, dialogue=None)

    @property
    def models(self) -> tuple[str, ...]:
        """The answerers' names, the default one's first."""
        return tuple(dict.fromkeys((DEFAULT_MODEL, self.answerer.name, *self.other_answerers)))

    def using(self, name: str | None) -> AnswerDependencies:
        """The same, with the answerer of this name (None: the default one). Raises UnknownModelError."""
        if name in {None, DEFAULT_MODEL, self.answerer.name}:
            return self
        if name not in self.other_answerers:
            needs = " An agent takes a language model: configure one (CHAT_MODEL)." if name == AGENT_MODEL else ""
            raise UnknownModelError(
                f"There is no model {name!r}; there is {', '.join(self.models)}. GET /v1/models lists them.{needs}",
                param="model",
            )
        # The judge is there to spare the default answerer's work.
        return replace(self, answerer=self.other_answerers[name], near_questions=None, dialogue=None)
