"""Questions: what is asked, by whom, in which conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace.types.generation import Message
from headrace.types.principals import Principal


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, by whom.

    `conversation_id` continues a remembered conversation, None begins one. A caller that keeps the conversation itself
    sends its turns as `history`; then nothing is remembered.
    """

    text: str
    principal: Principal
    conversation_id: str | None = None
    history: Sequence[Message] | None = None
    filter: Mapping[str, Any] = field(default_factory=dict)
