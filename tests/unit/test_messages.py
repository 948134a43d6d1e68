"""Our own messages in ingest's queue are told from S3's."""

from __future__ import annotations

import pytest

from functions.ingest.events import changed_documents
from headrace.queues.messages import object_changed, rebuild_registry, tenant_to_rebuild


def test_a_rebuild_is_asked_for_by_tenant() -> None:
    assert tenant_to_rebuild(rebuild_registry("acme ü")) == "acme ü"


@pytest.mark.parametrize(
    "body", ["", "null", "[]", "{}", '{"headrace": 1}', '{"headrace": {"rebuild": ""}}', '{"headrace": {"rebuild": 3}}']
)
def test_nothing_else_asks_for_one(body: str) -> None:
    assert tenant_to_rebuild(body) is None
    assert tenant_to_rebuild(object_changed("documents/a")) is None


def test_a_changed_object_is_read_as_s3_tells_it() -> None:
    assert [key.key for key in changed_documents(object_changed("documents/a b+ü.txt"))] == ["documents/a b+ü.txt"]
