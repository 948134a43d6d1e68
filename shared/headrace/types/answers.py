"""Answers: what a model is asked, and the events that an answer is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from headrace.types.documents import Chunk, Scope
from headrace.types.retrieval import Passage


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a chat model is asked: the prompt, and the passages that the prompt numbers from 1."""

    question: str
    passages: Sequence[Passage]
    messages: Sequence[Message]
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a model read and wrote; zero where no language model ran."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class ModelChunk:
    """One piece of a model's stream: some text, or (once, at the end) its usage and why it stopped.

    `finish_reason` is `stop`, `length` (it hit the token limit) or `content_filter`.
    """

    text: str = ""
    usage: Usage | None = None
    finish_reason: str = ""


@dataclass(frozen=True, slots=True)
class Citation:
    """A passage that the answer used. `quote` stands in the chunk's text at `start` to `end` (characters)."""

    number: int
    chunk: Chunk
    quote: str
    start: int
    end: int


class AnswerMode(StrEnum):
    """How an answer came about: a language model, quotes from the documents, or nothing fitted."""

    GENERATED = "generated"
    EXTRACTIVE = "extractive"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """The answer enters a stage: `searching`, `answering` or `cached`."""

    stage: str
    mode: AnswerMode | None = None
    note: str = ""
    age_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class PassagesEvent:
    """The passages that the answer may use, best first."""

    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class CitationEvent:
    """A passage was cited for the first time."""

    citation: Citation


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """What the answer cost."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class DoneEvent:
    """The answer is at its end. `finish_reason` is `stop`, `refused`, or `length` or `content_filter` for a partial one."""

    mode: AnswerMode
    finish_reason: str
    conversation_id: str | None = None
    cached: bool = False


AnswerEvent = StatusEvent | PassagesEvent | TokenEvent | CitationEvent | UsageEvent | DoneEvent


@dataclass(frozen=True, slots=True)
class CacheKey:
    """What an answer is remembered under.

    `fingerprint` names the model, the prompt and the retrieval settings: an
    answer made by others is another answer.
    """

    scope: Scope
    fingerprint: str
    question: str


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """A finished answer, as the events that made it. `revision` is the tenant's document revision it was made from."""

    revision: int
    created_at: float
    events: tuple[AnswerEvent, ...]
