"""The bodies of this server's own requests, and what they ask."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headrace.answering.dependencies import AGENT_MODEL, DEFAULT_MODEL, AnswerDependencies
from headrace.errors import ForbiddenError, InvalidInputError
from headrace.filters import parse_filter
from headrace.types import AnswerOptions, Principal, Question, Rating, Role, ToolCall, ToolOptions

MAX_QUESTION_CHARACTERS = 8_000


class AllowedCall(BaseModel):
    """A call of a tool that writes, which the user allows: as `done.unconfirmed` named it."""

    model_config = ConfigDict(extra="forbid")

    tool: str = Field(min_length=1, max_length=64)
    arguments: dict[str, Any]

    def call(self, number: int) -> ToolCall:
        return ToolCall(f"allowed_{number}", self.tool, json.dumps(self.arguments, ensure_ascii=False))


class RetrievalBody(BaseModel):
    """Other retrieval settings than the deployment's, for an admin who compares: what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    limit: int | None = Field(default=None, ge=1, le=20)
    dense_weight: float | None = Field(default=None, gt=0.0, le=1.0)
    rerank: bool = True


class ChatBody(BaseModel):
    """`POST /chat`. `style` is asked of tone, form and length, as a system message is on `/v1`.

    `fresh` has the answer made now: none is taken from the cache, and it goes into none. So it does with `contexts`, and then
    each passage of a whole answer has its `context`: the text around it that the model read.
    """

    model_config = ConfigDict(extra="forbid")

    question: str = Field(min_length=1, max_length=MAX_QUESTION_CHARACTERS)
    conversation_id: str | None = Field(default=None, min_length=1, max_length=200)
    filter: dict[str, Any] | None = None
    model: str | None = Field(default=None, min_length=1, max_length=200)
    mode: Literal["answer", "agent"] = "answer"
    allow: list[AllowedCall] = Field(default_factory=list, max_length=8)
    style: str = Field(default="", max_length=4000)
    retrieval: RetrievalBody | None = None
    fresh: bool = False
    contexts: bool = False

    def answering(self, deps: AnswerDependencies, asker: Principal) -> AnswerDependencies:
        """What answers: the model that is asked, with the retrieval that an admin compares. Raises ForbiddenError."""
        using = deps.using(self.answerer)
        if self.retrieval is None:
            return using
        if not asker.may(Role.ADMIN):
            raise ForbiddenError("`retrieval` is for admins, who compare settings. Leave it out.")
        if using.answerer.searches:
            raise InvalidInputError(
                f"{using.answerer.name!r} searches by itself, with the deployment's settings. Leave `retrieval` out.",
                param="retrieval",
            )
        return replace(using, retriever=using.retriever.tuned(**self.retrieval.model_dump()))

    @property
    def answerer(self) -> str | None:
        """The model that is asked, by its name in `/v1/models`. Raises InvalidInputError when two are named."""
        if self.mode == "answer":
            return self.model
        if self.model not in {None, DEFAULT_MODEL, AGENT_MODEL}:
            raise InvalidInputError(f"`mode` agent is the model {AGENT_MODEL!r}. Leave `model` out.", param="model")
        return AGENT_MODEL

    def question_of(self, asker: Principal) -> Question:
        """What is asked. Raises InvalidInputError for nothing, and for a filter that can't be read."""
        if not self.question.strip():
            raise InvalidInputError("The question is empty. Ask something.", param="question")
        if self.allow and self.answerer != AGENT_MODEL:
            raise InvalidInputError("`allow` is for agents: ask with `mode` agent.", param="allow")
        return Question(
            self.question,
            asker,
            conversation_id=self.conversation_id,
            filter=filter_of(self.filter),
            options=AnswerOptions(style=self.style.strip()),
            is_fresh=self.fresh or self.contexts,
            tools=ToolOptions(allowed=tuple(each.call(number) for number, each in enumerate(self.allow, 1))),
        )


class FeedbackBody(BaseModel):
    """`POST /feedback`: a `rating` of the answer that a request got, by its `X-Request-Id`; or that a cached answer is wrong.

    `answer_id` is what the answer's `done` event named. Both may be said at once.
    """

    model_config = ConfigDict(extra="forbid")

    request_id: str | None = Field(default=None, pattern=r"^[0-9a-f]{16}$")
    rating: Rating | None = None
    comment: str = Field(default="", max_length=2000)
    answer_id: str | None = Field(default=None, pattern=r"^[0-9a-f]{24}-[0-9a-f]{24}$")
    verdict: Literal["wrong"] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> FeedbackBody:
        if (self.request_id is None) != (self.rating is None):
            raise ValueError("`request_id` and `rating` (up or down) go together")
        if (self.answer_id is None) != (self.verdict is None):
            raise ValueError('`answer_id` and `verdict` ("wrong") go together')
        if self.request_id is None and self.answer_id is None:
            raise ValueError("it says nothing: send `request_id` and `rating`, or `answer_id` and `verdict`")
        return self


class ConversationBody(BaseModel):
    """`PATCH /conversations/{id}`."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(min_length=1, max_length=120, pattern=r"\S")


class UploadBody(BaseModel):
    """`POST /documents`. `groups` may see the file (none: everybody of the tenant), `tags` say what it is about.

    `replace` puts it in the place of the asker's document of that name, if there is one.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=1000)
    content_type: str = Field(default="", max_length=200, pattern=r"^[\x20-\x7e]*$")
    groups: list[str] = Field(default_factory=list, max_length=50)
    tags: list[str] = Field(default_factory=list, max_length=50)
    replace: bool = False


def filter_of(given: dict[str, Any] | None) -> dict[str, Any]:
    """A request's filter; empty where it has none. Raises InvalidInputError for one that can't be read."""
    wanted = given or {}
    parse_filter(wanted)
    return wanted
