"""Settings in, protocols out: the only place that chooses a vendor, and imports no more than the chosen one."""

from headrace.wiring.agents import agents_on, document_tools_on, open_tool_sources
from headrace.wiring.answering import (
    answerers_on,
    open_answering,
    open_answering_model,
    open_chat_model,
    open_context_model,
    open_near_questions,
)
from headrace.wiring.documents import files_in, open_bucket, open_parser, open_queue, upload_origin
from headrace.wiring.door import api_keys_on, open_authenticator, rate_limiter_on
from headrace.wiring.environment import read_settings
from headrace.wiring.knowledge import collection_of, open_embedder, open_reranker, open_store, retriever_on
from headrace.wiring.ledger import ledger_queue_on, open_ledger, pricing_of
from headrace.wiring.sockets import open_socket_sender
from headrace.wiring.state import (
    cache_maintenance_on,
    cache_on,
    conversations_on,
    invalidation_planner_on,
    open_redis,
    open_runs,
    registry_on,
    single_flight_on,
    socket_registry_on,
)
from headrace.wiring.traces import open_tracer

__all__ = [
    "agents_on",
    "answerers_on",
    "api_keys_on",
    "cache_maintenance_on",
    "cache_on",
    "collection_of",
    "conversations_on",
    "document_tools_on",
    "files_in",
    "invalidation_planner_on",
    "ledger_queue_on",
    "open_answering",
    "open_answering_model",
    "open_authenticator",
    "open_bucket",
    "open_chat_model",
    "open_context_model",
    "open_embedder",
    "open_ledger",
    "open_near_questions",
    "open_parser",
    "open_queue",
    "open_redis",
    "open_reranker",
    "open_runs",
    "open_socket_sender",
    "open_store",
    "open_tool_sources",
    "open_tracer",
    "pricing_of",
    "rate_limiter_on",
    "read_settings",
    "registry_on",
    "retriever_on",
    "single_flight_on",
    "socket_registry_on",
    "upload_origin",
]
