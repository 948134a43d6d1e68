"""What XREAD gives of one stream, in either protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Entry = tuple[bytes, dict[bytes, bytes]]


def entries_of(found: Any) -> list[Entry]:
    """The entries: by key in RESP3, in pairs before."""
    if isinstance(found, dict):
        return [entry for batches in found.values() for batch in batches for entry in batch]
    return [entry for _, entries in found or () for entry in entries]


def position_of(entries: Sequence[Entry], after: str) -> str:
    """Where a reader who was at `after` stands behind these entries."""
    return entries[-1][0].decode() if entries else after
