"""Whether a question's answer is the same for everybody, today and tomorrow. By rules, in English."""

from __future__ import annotations

import re

_TIME = re.compile(
    r"\b(?:now|today|tonight|yesterday|tomorrow|currently|at the moment|this (?:morning|week|month|quarter|year|semester)"
    r"|(?:last|next|past|coming) (?:night|week|month|quarter|year|monday|tuesday|wednesday|thursday|friday|saturday|sunday"
    r"|few|couple|\d+)|so far|recent(?:ly)?|latest|newest|up to date|(?:days?|weeks?|months?|years?|hours?) ago"
    r"|what (?:time|day|date) is it|what is the (?:time|date)|right away|these days|still (?:open|valid|available))\b"
)
_PERSONAL = re.compile(
    r"\b(?:who am i|am i|was i|did i|have i|had i|do i have|i've|i'm|i am|i was|i have|about me|for me|to me|tell me my"
    r"|our (?:conversation|chat)|(?:is|are|was|were|has|have|what's|whats|where's|when's) (?:\w+ )?(?:my|mine)"
    r"|(?:what|when|where|which|who|how (?:much|many|long)) (?:\w+ ){0,3}(?:my|mine))\b"
)
_REFERS_BACK = re.compile(
    r"^(?:and|but|also|so|then|what about|how about|why not|why|more|go on|continue|yes|no|ok|okay|thanks?)\b[^\w]*"
    r"(?:\w+[^\w]*){0,3}$|\b(?:you (?:just )?(?:said|mentioned|told|wrote)|your (?:last|previous) (?:answer|reply)"
    r"|(?:the )?(?:above|previous) (?:answer|question|one))\b"
)


def is_shareable(question: str) -> bool:
    """Whether the answer is the same for everybody, today and tomorrow, and needs no conversation to be understood."""
    text = " ".join(question.casefold().split())
    return not (_TIME.search(text) or _PERSONAL.search(text) or _REFERS_BACK.search(text))
