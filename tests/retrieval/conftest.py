"""Every vector store for retrieval, as the contract tests open them."""

from __future__ import annotations

from tests.contract.conftest import any_store, calm_store, faults, search_redis_url

__all__ = ["any_store", "calm_store", "faults", "search_redis_url"]
