"""The seam of traces: spans of what is done for a request, one within another."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

Attribute = str | int | float | bool | list[str]


class Span(Protocol):
    """A piece of work, from when it was begun until it is ended."""

    @property
    def trace_parent(self) -> str:
        """What W3C's `traceparent` header says of it; empty for a trace that is not recorded."""

    def set(self, attributes: Mapping[str, Attribute]) -> None:
        """Add what is known by now."""

    def end(self, *, error: str = "") -> None:
        """It is over: badly, with the fault's name. Ending it again changes nothing."""


class Tracer(Protocol):
    """Makes spans. A span that is begun while another is current is a part of that."""

    def begin(self, name: str, attributes: Mapping[str, Attribute], *, parent: str = "") -> Span:
        """A span that is current from here on, in this task and those that it makes; `parent` is a `traceparent`."""

    def span(
        self, name: str, attributes: Mapping[str, Attribute], *, is_current: bool = True
    ) -> AbstractContextManager[Span]:
        """A span that is current within the block, and ends with it, with the fault that it raises.

        One around what a generator yields is not current: else it would be for who reads it, too.
        """

    async def flush(self) -> None:
        """Send what is recorded; who may be frozen waits for it. Never raises."""
