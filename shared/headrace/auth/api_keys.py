"""API keys: `headrace_<id>_<secret>`, as a bearer token, or in `X-API-Key`.

A secret has 256 random bits, so that its SHA-256 can be kept without salt or stretching: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Mapping

from headrace.errors import ConfigurationError, UnauthenticatedError
from headrace.protocols import ApiKeys
from headrace.types import ApiKey, Credentials, Principal, read_api_key

CHALLENGE = (
    "Send an API key: `Authorization: Bearer headrace_…`. Whoever runs this deployment makes one with `make key`."
)
PREFIX = "headrace_"
_KEY = re.compile(r"headrace_([0-9a-f]{16})_([0-9a-f]{64})")
_NO_HASH = "0" * 64


class ApiKeyAuthenticator:
    """An Authenticator for API keys: those of a setting, and those in Redis."""

    challenge = CHALLENGE

    def __init__(self, keys: ApiKeys, fixed: Mapping[str, ApiKey] | None = None) -> None:
        self._keys = keys
        self._fixed = fixed or {}

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        given = credentials.headers.get("x-api-key") or credentials.bearer
        if not given.startswith(PREFIX):
            return None
        parts = _KEY.fullmatch(given)
        if parts is None:
            raise UnauthenticatedError("This is no whole API key. Send all of it, as it was shown when it was made.")
        key_id, secret = parts.groups()
        record = self._fixed.get(key_id) or await self._keys.find(key_id)
        # An unknown id takes as long as a wrong secret.
        holds = hmac.compare_digest(hash_of(secret), record.secret_hash if record is not None else _NO_HASH)
        if record is None or not holds:
            raise UnauthenticatedError("This API key does not hold: it was never made, or has been revoked.")
        if record.expires_at is not None and record.expires_at <= time.time():
            raise UnauthenticatedError("This API key has expired. Ask whoever runs this deployment for a new one.")
        return record.principal


def new_key(principal: Principal, *, label: str = "", expires_at: float | None = None) -> tuple[str, ApiKey]:
    """A new key, which is shown once, and its record. The principal's id becomes the key's, unless it has one."""
    key_id, secret = secrets.token_hex(8), secrets.token_hex(32)
    return f"{PREFIX}{key_id}_{secret}", ApiKey(key_id, hash_of(secret), principal, label, time.time(), expires_at)


def hash_of(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def read_fixed_keys(text: str) -> dict[str, ApiKey]:
    """API_KEYS: a JSON list of records, as `make key ACTION=create` prints one. Raises ConfigurationError."""
    try:
        records = [read_api_key(json.dumps(each)) for each in json.loads(text or "[]")]
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            "API_KEYS can't be read: it must be a JSON list of records of API keys. `make key ACTION=create` prints one."
        ) from error
    return {record.id: record for record in records}
