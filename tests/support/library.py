"""Documents put straight into store and registry."""

from __future__ import annotations

from dataclasses import dataclass, replace

from functions.ingest.chunk import chunk_blocks
from headrace.protocols import DocumentRegistry, Embedder, VectorStore
from headrace.types import Block, Document, DocumentKey, DocumentState, EmbeddedChunk


@dataclass
class Library:
    """Puts texts straight into store and registry, as ingest would leave them."""

    tenant: str
    embedder: Embedder
    store: VectorStore
    registry: DocumentRegistry

    async def put(
        self, name: str, *blocks: Block | str, tenant: str | None = None, groups: tuple[str, ...] = ()
    ) -> str:
        key = DocumentKey(f"documents/{tenant or self.tenant}/{name}")
        attempt = await self.registry.begin(key, embedding_model=self.embedder.model)
        made = chunk_blocks(
            [block if isinstance(block, Block) else Block(block) for block in blocks],
            document_key=key.key, generation=attempt.number,
        )  # fmt: skip
        made = [replace(chunk, groups=groups, total=len(made)) for chunk in made]
        vectors = await self.embedder.embed([chunk.text_to_embed for chunk in made])
        await self.store.ensure(len(vectors[0]))
        watermark = await self.store.upsert([EmbeddedChunk(c, v) for c, v in zip(made, vectors, strict=True)])
        number = attempt.number
        document = Document(key.key, DocumentState.READY, generation=number, chunks=len(made), groups=groups)
        await self.registry.save(document, attempt, watermark=watermark)
        # Last: a registry that has an epoch knows of every document.
        await self.registry.open_epoch(key.tenant)
        await self.store.delete_older(key, before=number)
        return key.key

    async def remove(self, name: str) -> None:
        key = DocumentKey(f"documents/{self.tenant}/{name}")
        attempt = await self.registry.begin(key, embedding_model=self.embedder.model)
        await self.registry.remove(attempt)
        await self.store.delete_older(key, before=attempt.number)
