"""The seams: an adapter satisfies one of these protocols, and a pipeline knows nothing else.

`auth` is for those who read the door, `documents` for ingest, `retrieval` for search, `generation` for answers,
`tools` for agents, `cache` for the answer cache, `ledger` for what was answered, `runs` and `sockets` for answers that outlive a connection, `traces` for what they spend their time on.
"""

from headrace.protocols.auth import Admission, ApiKeys, Authenticator, RateLimiter
from headrace.protocols.cache import AnswerCache, CacheMaintenance, InvalidationPlanner
from headrace.protocols.checks import Checkable
from headrace.protocols.documents import Bucket, DocumentRegistry, Files, Parser, Queue
from headrace.protocols.generation import Answerer, AnswerJudge, ChatModel, Conversations, SingleFlightRelay
from headrace.protocols.ledger import (
    DayUsage,
    KeptRecord,
    Ledger,
    LedgerQueue,
    RecordFilter,
    RecordPage,
    Unanswered,
)
from headrace.protocols.retrieval import Embedder, Reranker, VectorSearch, VectorStore
from headrace.protocols.runs import RunLog
from headrace.protocols.sockets import SocketRegistry, SocketSender
from headrace.protocols.tools import Tool, ToolSource
from headrace.protocols.traces import Attribute, Span, Tracer

__all__ = [
    "Admission",
    "AnswerCache",
    "AnswerJudge",
    "Answerer",
    "ApiKeys",
    "Attribute",
    "Authenticator",
    "Bucket",
    "CacheMaintenance",
    "ChatModel",
    "Checkable",
    "Conversations",
    "DayUsage",
    "DocumentRegistry",
    "Embedder",
    "Files",
    "InvalidationPlanner",
    "KeptRecord",
    "Ledger",
    "LedgerQueue",
    "Parser",
    "Queue",
    "RateLimiter",
    "RecordFilter",
    "RecordPage",
    "Reranker",
    "RunLog",
    "SingleFlightRelay",
    "SocketRegistry",
    "SocketSender",
    "Span",
    "Tool",
    "ToolSource",
    "Tracer",
    "Unanswered",
    "VectorSearch",
    "VectorStore",
]
