"""Tools: what a call of one gives."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.types.retrieval import Passage


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool found or did, as a model reads it: a text, passages that it may cite, or both.

    An answer may state what stands in either; only passages can be cited.
    """

    text: str = ""
    passages: tuple[Passage, ...] = ()
