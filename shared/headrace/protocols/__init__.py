"""The seams: an adapter satisfies one of these protocols, and a pipeline knows nothing else.

`documents` is for those who read ingest, `retrieval` for search, `generation` for answers, `cache` for the answer cache.
"""

from headrace.protocols.cache import AnswerCache, CacheMaintenance, InvalidationPlanner
from headrace.protocols.checks import Checkable
from headrace.protocols.documents import Bucket, DocumentRegistry, Parser, Queue, Uploads
from headrace.protocols.generation import Answerer, AnswerJudge, ChatModel, Conversations, SingleFlightRelay
from headrace.protocols.retrieval import Embedder, Reranker, VectorSearch, VectorStore

__all__ = [
    "AnswerCache",
    "AnswerJudge",
    "Answerer",
    "Bucket",
    "CacheMaintenance",
    "ChatModel",
    "Checkable",
    "Conversations",
    "DocumentRegistry",
    "Embedder",
    "InvalidationPlanner",
    "Parser",
    "Queue",
    "Reranker",
    "SingleFlightRelay",
    "Uploads",
    "VectorSearch",
    "VectorStore",
]
