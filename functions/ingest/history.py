"""A document's history: the states that it went through, and why."""

from __future__ import annotations

import time
from dataclasses import replace

from headrace.types import Document, Step

HISTORY_STEPS = 20


def with_history(document: Document) -> Document:
    """The document with its present state in its history, if that is news."""
    now = document.updated_at or time.time()
    *_, last = (None, *document.history)
    if last is not None and (last.state, last.reason) == (document.state, document.reason):
        return document
    steps = (*document.history, Step(now, document.state, document.reason))
    return replace(document, history=steps[-HISTORY_STEPS:])
