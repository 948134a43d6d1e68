"""Counters for Prometheus. Processes that share a folder (PROMETHEUS_MULTIPROC_DIR) are told of together.

Reference: https://prometheus.github.io/client_python/multiprocess/
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

# One registry of ours: the default one has the interpreter's own figures, too, which can't be summed over processes.
REGISTRY = CollectorRegistry()
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30)
LONG_SECONDS = (0.5, 1, 5, 15, 60, 300, 900)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

ANSWERS = Counter("headrace_answers", "Answers", ["mode", "cache", "model"], registry=REGISTRY)
ERRORS = Counter("headrace_answer_errors", "Answers that a fault ended", ["code", "model"], registry=REGISTRY)
NOT_LET_IN = Counter("headrace_requests_not_let_in", "Requests beyond a limit", ["code"], registry=REGISTRY)
TOKENS = Counter(
    "headrace_tokens", "Tokens that answers cost, that the cache saved, that judges read", ["kind"], registry=REGISTRY
)
DOLLARS = Counter("headrace_dollars", "What answers cost, where MODEL_PRICES knows the model", registry=REGISTRY)
FIRST_TOKEN_SECONDS = Histogram(
    "headrace_first_token_seconds", "From the request to the answer's first word", registry=REGISTRY, buckets=SECONDS
)
SIMILARITY = Histogram(
    "headrace_retrieval_similarity", "The best passage's similarity to the question", registry=REGISTRY, buckets=SHARES
)
DOCUMENTS = Counter("headrace_documents", "Documents that ingest made final", ["state"], registry=REGISTRY)
INGEST_SECONDS = Histogram(
    "headrace_ingest_seconds",
    "What the attempt took that made a document final",
    registry=REGISTRY,
    buckets=LONG_SECONDS,
)


def exposition(folder: str) -> bytes:
    """All counters in Prometheus' text format: of all processes that share the folder, or of this one. Reads files."""
    if not folder:
        return generate_latest(REGISTRY)
    shared = CollectorRegistry()
    MultiProcessCollector(shared, path=folder)  # type: ignore[no-untyped-call]
    return generate_latest(shared)
