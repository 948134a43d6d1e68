"""Questions: what is asked, by whom, in which conversation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from headrace.types.generation import (
    Constraint,
    Message,
    ModelOptions,
    ToolCall,
    ToolChoice,
    ToolSpec,
    ToolUse,
    constraint_key,
    read_constraint,
)
from headrace.types.principals import Principal

# So many turns of a conversation are remembered, the last ones.
MAX_TURNS = 200


@dataclass(frozen=True, slots=True)
class Conversation:
    """A remembered conversation: its name, its title, and when its last turn was, in seconds since the epoch."""

    id: str
    title: str
    updated_at: float


# A longer style is an application's own, and is kept in every partition of the cache that has it.
MOST_SHARED_STYLE = 2_000
MOST_SHARED_FORM = 8_000


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """How the caller wants the answer, within the deployment's rules.

    `style` is what the calling application asks of tone, form and length. `max_tokens` only lowers the deployment's limit. An
    answer with a `constraint` satisfies it, and has its citations beside it.
    """

    style: str = ""
    max_tokens: int | None = None
    model: ModelOptions = field(default_factory=ModelOptions)
    constraint: Constraint | None = None

    @property
    def key(self) -> str:
        """The options as text, from which `read` makes them again; empty when nothing is wanted."""
        if self == AnswerOptions():
            return ""
        form = [] if self.constraint is None else [constraint_key(self.constraint)]
        return json.dumps([self.style, self.max_tokens, self.model.given(), *form])

    def limit(self, most: int) -> int:
        """The tokens that the answer may have, where the deployment allows `most`."""
        return min(self.max_tokens or most, most)

    @property
    def is_for_sharing(self) -> bool:
        """Whether others are likely to want the same: not with a seed, which asks for an answer of its own."""
        is_short = self.constraint is None or len(json.dumps(constraint_key(self.constraint))) <= MOST_SHARED_FORM
        return self.model.seed is None and len(self.style) <= MOST_SHARED_STYLE and is_short

    @classmethod
    def read(cls, key: str) -> AnswerOptions:
        """The options that have this key."""
        if not key:
            return cls()
        style, max_tokens, given, *form = json.loads(key)
        model = ModelOptions(**{**given, "stop": tuple(given.get("stop", ()))})
        return cls(style, max_tokens, model, read_constraint(form[0]) if form else None)


@dataclass(frozen=True, slots=True)
class ToolOptions:
    """How an answer may use tools. `client_tools` are the caller's own: a call of one ends the answer, until its result is sent.

    `allowed` are the calls of tools that write which the user has allowed: they are made first. `turns` are the calls and
    results behind the question, when it is asked again with the results of the caller's tools. Of several calls of these, the
    caller may want `one_at_a_time`.
    """

    client_tools: tuple[ToolSpec, ...] = ()
    choice: ToolChoice = ToolUse.AUTO
    allowed: tuple[ToolCall, ...] = ()
    turns: tuple[Message, ...] = ()
    one_at_a_time: bool = False

    @property
    def is_used(self) -> bool:
        """Whether the caller brings tools along, or what they gave."""
        return bool(self.client_tools or self.turns)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, by whom.

    `conversation_id` continues a remembered conversation, None begins one. A caller that keeps the conversation itself
    sends its turns as `history`; then nothing is remembered, but where `remember_as` gives it a name. What such a
    conversation `follows`, a remembered one, comes before its turns and stays as it is.
    """

    text: str
    principal: Principal
    conversation_id: str | None = None
    history: Sequence[Message] | None = None
    follows: str | None = None
    remember_as: str | None = None
    filter: Mapping[str, Any] = field(default_factory=dict)
    options: AnswerOptions = field(default_factory=AnswerOptions)
    tools: ToolOptions = field(default_factory=ToolOptions)
    # Whether it was read already as what it is for, and made to stand alone.
    is_interpreted: bool = False
    # Whether its answer is to be made now, and to be nobody else's.
    is_fresh: bool = False

    def alone(self, text: str) -> Question:
        """The same, in words that need no turns before them."""
        return replace(self, text=text, history=(), is_interpreted=True)
