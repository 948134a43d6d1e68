"""The events that an answer is made of, and their JSON form, which a cache and a relay keep.

An event is a frozen struct of msgspec with its name as tag, so that encoding and decoding need no code of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from headrace.types.documents import Chunk
from headrace.types.generation import FinishReason, ToolCall, Usage
from headrace.types.retrieval import Passage


@dataclass(frozen=True, slots=True)
class Citation:
    """A passage that the answer used. `quote` stands in the chunk's text at `start` to `end` (characters).

    `path` is the place of the value that it bears out, in an answer that is JSON: a JSON pointer.
    """

    number: int
    chunk: Chunk
    quote: str
    start: int
    end: int
    path: str | None = None


class AnswerMode(StrEnum):
    """How an answer came about: a language model, quotes from the documents, or nothing fitted."""

    GENERATED = "generated"
    EXTRACTIVE = "extractive"
    CONVERSATION = "conversation"  # from what was said before, and from no document
    REFUSED = "refused"


class Stage(StrEnum):
    """A stage that an answer enters."""

    SEARCHING = "searching"
    ANSWERING = "answering"
    CACHED = "cached"  # a replay of an answer from the cache
    RESTARTED = "restarted"  # readers forget what came before: the answer begins again


class CacheVerdict(StrEnum):
    """What the answer cache had for a question."""

    HIT = "hit"
    MISS = "miss"
    SHARED = "shared"  # another asker's answer, as it is being made
    BYPASS = "bypass"  # something entered the prompt that is not for sharing
    UNAVAILABLE = "unavailable"  # the cache did not answer in time


class Doubt(StrEnum):
    """Why a sentence of an answer is not borne out by its passages."""

    NUMBER = "number"  # no passage has the number
    UNIT = "unit"  # the passage has it with another unit
    QUOTATION = "quotation"  # no passage has these words
    MISATTRIBUTED = "misattributed"  # another passage than the cited one has it


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A sentence of an answer that its passages do not bear out, the doubt, and the words that raise it."""

    sentence: str
    doubt: Doubt
    words: str


class StepState(StrEnum):
    """Where a call of a tool stands, or how it ended."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    REJECTED = "rejected"  # there is no such tool, or its arguments are wrong: it was not called
    UNCONFIRMED = "unconfirmed"  # it writes, and the user has not allowed this call: it was not called


class _Event(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="event"):
    pass


class StatusEvent(_Event, tag="status", frozen=True):
    """The answer enters a stage.

    The first one says in `cache` what the answer cache had, and in `judge_tokens` what the judge's verdict cost. Of a
    cached answer, `age_seconds` is the time since it was made, and `similarity` the cosine of the two questions.
    `question` is a follow-up as it stands alone, which is what is searched for, and `reading_tokens` what it cost to find.
    """

    stage: Stage
    mode: AnswerMode | None = None
    note: str = ""
    age_seconds: float | None = None
    cache: CacheVerdict | None = None
    similarity: float | None = None
    judge_tokens: int = 0
    question: str = ""
    reading_tokens: int = 0


class PassagesEvent(_Event, tag="passages", frozen=True):
    """The passages that the answer may use, best first."""

    passages: tuple[Passage, ...]


class TokenEvent(_Event, tag="token", frozen=True):
    """A piece of the answer's text."""

    text: str


class CitationEvent(_Event, tag="citation", frozen=True):
    """A sentence of a passage was cited for the first time."""

    citation: Citation


class StepEvent(_Event, tag="step", frozen=True):
    """An agent calls a tool, and again: the call has ended. `number` tells the calls of one answer apart, from 1.

    `arguments` is JSON as the model wrote it. At its end a call has taken `seconds`, and its result has so many
    `characters`, as the model gets it; `passages` are the numbers of the passages that it found.
    """

    number: int
    tool: str
    arguments: str
    state: StepState
    seconds: float | None = None
    characters: int | None = None
    passages: tuple[int, ...] = ()


class ToolCallsEvent(_Event, tag="tool_calls", frozen=True):
    """The answer waits for its asker, whose tools these are: it ends here, and goes on when their results are sent."""

    calls: tuple[ToolCall, ...]


class UsageEvent(_Event, tag="usage", frozen=True):
    """What the answer cost so far; of several, the last one counts."""

    usage: Usage


class DoneEvent(_Event, tag="done", frozen=True):
    """The answer is at its end. `answer_id` names it in the cache, where it is or may be kept.

    `model` is the language model that wrote it; a `fallback` stood in for the configured one, and its answer is not kept.
    `forgotten` is true when the conversation could not be kept: a next question will not know of this one.
    `unsupported` are the sentences that the passages do not bear out; of JSON, the values, by their JSON pointers. `constraint`
    is how an answer of a guaranteed form got it: `enforced` by the model's server and checked here, or `checked` here alone.

    `captures` are what the named parts of a grammar took of it.

    One that is `provisional` was made without a part that would have had a say, or with one that may say something else next
    time, and is not kept.

    Of an agent's answer, `limit` is the limit that ended its steps (`steps`, `tokens` or `seconds`), and `unconfirmed` are the
    calls that it did not make because they write and nobody has allowed them.

    Of an answer that there is none, `nearest` names the documents that came nearest, and `unread` is how many are still being
    read: the answer may be in one of these, so it is not kept.
    """

    mode: AnswerMode
    finish_reason: FinishReason
    conversation_id: str | None = None
    cached: bool = False
    answer_id: str | None = None
    model: str | None = None
    fallback: bool = False
    forgotten: bool = False
    unsupported: tuple[Unsupported, ...] = ()
    nearest: tuple[str, ...] = ()
    unread: int = 0
    provisional: bool = False
    constraint: str | None = None
    captures: dict[str, str] | None = None
    limit: str | None = None
    unconfirmed: tuple[ToolCall, ...] = ()


AnswerEvent = (
    StatusEvent | PassagesEvent | StepEvent | TokenEvent | CitationEvent | ToolCallsEvent | UsageEvent | DoneEvent
)


def text_of(events: Iterable[AnswerEvent]) -> str:
    """The answer's text."""
    return "".join(event.text for event in events if isinstance(event, TokenEvent))


_encoder = msgspec.json.Encoder()
_one = msgspec.json.Decoder(AnswerEvent)
_many = msgspec.json.Decoder(tuple[AnswerEvent, ...])


def encode_event(event: AnswerEvent) -> bytes:
    """The event as JSON."""
    return _encoder.encode(event)


def decode_event(data: bytes) -> AnswerEvent:
    """What `encode_event` wrote. Raises ValueError for anything else."""
    try:
        return _one.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(f"No answer event: {error}") from error


def encode_events(events: Sequence[AnswerEvent]) -> bytes:
    """The events as a JSON list."""
    return _encoder.encode(events)


def decode_events(data: bytes) -> tuple[AnswerEvent, ...]:
    """What `encode_events` wrote. Raises ValueError for anything else."""
    try:
        return _many.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(f"No answer events: {error}") from error
