"""The messages that Headrace itself puts into ingest's queue, beside S3's notifications."""

from __future__ import annotations

import json
from urllib.parse import quote_plus


def object_changed(key: str) -> str:
    """In the form of S3's own notification: look at this key again."""
    return json.dumps({"Records": [{"s3": {"object": {"key": quote_plus(key)}}}]})


def rebuild_registry(tenant: str) -> str:
    """Make this tenant's registry whole again."""
    return json.dumps({"headrace": {"rebuild": tenant}})


def tenant_to_rebuild(body: str) -> str | None:
    """The tenant that `rebuild_registry` named; None for every other message."""
    try:
        tenant = json.loads(body)["headrace"]["rebuild"]
    except (ValueError, KeyError, TypeError):
        return None
    return tenant if isinstance(tenant, str) and tenant else None
