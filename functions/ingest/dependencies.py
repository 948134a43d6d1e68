"""What ingest works with. functions.ingest.main makes it from settings, tests from their own parts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from functions.ingest.metrics import Report
from functions.ingest.write import WINDOW
from headrace.protocols import (
    Bucket,
    ChatModel,
    DocumentRegistry,
    Embedder,
    InvalidationPlanner,
    Parser,
    Queue,
    VectorStore,
)

# Raise it when parsing or chunking changes, and documents are made anew.
PIPELINE_VERSION = "5"
WAIT_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class IngestDependencies:
    """What the pipeline works with.

    `recipe` names how chunks are made: a document that was made by another recipe is made anew. `context_model` writes
    what each chunk is about, where there is one. `planner` finds the cached answers that a new version invalidates.
    `dead_letters_arn` is the queue whose messages were given up. `window` is how many chunks are embedded and written at
    a time, and `clock`, in seconds, tells whether there is time for another window. An attempt that was overtaken waits
    `wait_seconds` for the other one. `report` is told what became of each document, and how many seconds it took.
    """

    bucket: Bucket
    parser: Parser
    embedder: Embedder
    store: VectorStore
    registry: DocumentRegistry
    max_document_bytes: int
    queue: Queue | None = None
    dead_letters_arn: str = "none"
    context_model: ChatModel | None = None
    planner: InvalidationPlanner | None = None
    recipe: str = PIPELINE_VERSION
    window: int = WINDOW
    clock: Callable[[], float] = time.monotonic
    wait_seconds: float = WAIT_SECONDS
    report: Report | None = None
