"""The seams of generation: chat models, answerers on top of them, the judge of cached answers, and what answers share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from headrace.protocols.checks import Checkable
from headrace.types import (
    AnswerEvent,
    CacheEntry,
    Constraint,
    Conversation,
    JudgeVerdict,
    Lead,
    Message,
    ModelChunk,
    ModelOptions,
    Passage,
    Principal,
    Question,
    ToolChoice,
    ToolSpec,
)


class ChatModel(Checkable, Protocol):
    """A language model that continues a conversation. It knows nothing of passages or citations."""

    @property
    def name(self) -> str:
        """The model's name, as its vendor knows it."""

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        tools: Sequence[ToolSpec] = (),
        tool_choice: ToolChoice = ...,
        constraint: Constraint | None = None,
        options: ModelOptions | None = None,
    ) -> AsyncGenerator[ModelChunk, None]:
        """Yield the model's text and tool calls as they are written, then usage and finish reason once.

        Under a `constraint` the text satisfies it; there are no tools then. Raises ModelUnavailableError, also when the stream breaks off or
        nothing comes for too long, ModelProtocolError for what nobody asked for (an unknown finish reason, a tool call
        without tools, a text outside the constraint), and UnsupportedParameterError for an option that the model does
        not take.
        """


class Answerer(Checkable, Protocol):
    """Makes an answer from a question and its passages."""

    @property
    def name(self) -> str:
        """What clients call it: a name in `/v1/models`."""

    @property
    def reads_history(self) -> bool:
        """Whether the turns before a question shape its answer."""

    @property
    def keeps_forms(self) -> bool:
        """Whether an answer can have a guaranteed form."""

    @property
    def searches(self) -> bool:
        """Whether it looks further by itself, and makes an answer where nothing was found, too."""

    @property
    def needs_certain_match(self) -> bool:
        """Whether retrieval must refuse doubtful passages, because the answerer can't judge whether they answer."""

    def sharing_key(self, question: Question) -> str | None:
        """Names everything but question text, passages and scope that shapes this answer: model, prompt, limits.

        None when something shapes it that other askers don't share: history, tools, the clock, who asks.
        """

    def answer(self, question: Question, passages: Sequence[Passage]) -> AsyncGenerator[AnswerEvent, None]:
        """Yield the answer's events, from its `answering` status to its DoneEvent. Raises what the model raises."""


class AnswerJudge(Protocol):
    """Reads a question and cached answers to near ones, and decides which of them, if any, answers it wholly."""

    @property
    def name(self) -> str:
        """Names the judge, prompt included: verdicts of another one are not followed."""

    async def judge(self, question: str, candidates: Sequence[CacheEntry]) -> JudgeVerdict:
        """The verdict on one to three candidates. Raises HeadraceError when there is none."""


class SingleFlightRelay(Protocol):
    """Carries the events of one flight to askers in other processes. Raises RelayUnavailableError.

    Whoever holds a flight's lease leads it; a lease runs out when it is not renewed. A flight's key begins with its tenant
    and `/`.
    """

    @property
    def lease_seconds(self) -> float:
        """How long a lease lasts."""

    async def lead(self, flight: str) -> str | None:
        """Take the lead: the lease's token, or None when another process has it, which learns that it is followed as it sends."""

    async def send(self, flight: str, lease: str, messages: Sequence[bytes], *, sent: int, ends: bool = False) -> Lead:
        """Send messages to the followers, and renew the lease; `ends` gives it back.

        `sent` counts the messages sent on this lease before these: messages that are sent again are received once.
        """

    async def release(self, flight: str, lease: str) -> Lead:
        """Give the lease of a flight back, whose messages were not sent; not so when it is followed."""

    async def receive(self, flight: str, after: str, *, wait_seconds: float) -> tuple[str, list[bytes]]:
        """The messages after this position (empty: from the start), and the position of the last one.

        Waits for the first one; an empty list when none came in time.
        """

    async def is_led(self, flight: str) -> bool:
        """Whether any process holds the lease; it learns that it is followed as it sends."""


class Conversations(Checkable, Protocol):
    """Remembers the turns of conversations, each principal's apart. Raises RegistryUnavailableError."""

    async def history(self, principal: Principal, conversation_id: str, *, last: int = ...) -> list[Message]:
        """The `last` turns, oldest first; empty for an unknown conversation."""

    async def append(
        self, principal: Principal, conversation_id: str, messages: Sequence[Message], *, listed: bool = True
    ) -> None:
        """Add turns at the end. A new conversation is called by its first question; one that is not `listed` has no title."""

    async def all(self, principal: Principal) -> list[Conversation]:
        """The principal's listed conversations, the newest first."""

    async def rename(self, principal: Principal, conversation_id: str, title: str) -> bool:
        """Give it another title; False when it is not there."""

    async def delete(self, principal: Principal, conversation_id: str) -> bool:
        """Forget it; False when it is not there."""
