"""The inventory of a tenant's chunks in the store, without their texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.protocols import VectorStore
from headrace.types import Chunk

Labels = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(slots=True)
class StoredGeneration:
    """What the store has of one generation of a document: one of its chunks, their indexes, their groups and tags."""

    first: Chunk
    indexes: set[int] = field(default_factory=set)
    labels: set[Labels] = field(default_factory=set)

    def has(self, total: int) -> bool:
        """Whether these are all of so many chunks, and at least one."""
        return total > 0 and self.indexes == set(range(total))

    @property
    def is_whole(self) -> bool:
        return self.has(self.first.total)


async def inventory_of(tenant: str, store: VectorStore) -> Mapping[str, Mapping[int, StoredGeneration]]:
    """Every generation that the store has, by document and number."""
    stored: dict[str, dict[int, StoredGeneration]] = defaultdict(dict)
    async for chunk in store.scan(tenant):
        held = stored[chunk.document_key].setdefault(chunk.generation, StoredGeneration(chunk))
        held.indexes.add(chunk.index)
        held.labels.add((chunk.groups, chunk.tags))
    return stored
