"""Why a text does not satisfy its constraint."""

from __future__ import annotations

MOST_CHARACTERS = 300


class ConstraintError(ValueError):
    """A text does not satisfy its constraint; the message says where, in words that a model can go by."""


def short(text: str) -> str:
    """A library's reason in one line, and not too long a one."""
    line = " ".join(text.split())
    return line if len(line) <= MOST_CHARACTERS else f"{line[:MOST_CHARACTERS]}…"
