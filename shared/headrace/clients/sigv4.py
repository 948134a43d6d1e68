"""Signature Version 4, for the few requests to AWS that a cold start can't wait for botocore with (a third of a second to import).

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html; botocore's own signatures
hold it to the truth in tests/unit/test_sigv4.py.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qsl, quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY_DIGEST = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class AwsKeys:
    """The keys of an AWS identity."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs for one service in one region."""

    keys: AwsKeys
    region: str
    service: str

    def headers(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], *, now: datetime
    ) -> dict[str, str]:
        """All headers of a signed request: `headers`, and those of the signature. `now` is in UTC.

        The URL's path is percent-encoded, and has no `.` and `..` in it.
        """
        parts = urlsplit(url)
        stamp = f"{now:%Y%m%dT%H%M%SZ}"
        given = {**headers, "X-Amz-Date": stamp}
        if self.keys.session_token:
            given["X-Amz-Security-Token"] = self.keys.session_token
        signed = {name.lower(): value.strip() for name, value in given.items()} | {"host": parts.netloc}
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        # Every service but S3 has the path encoded once more.
        path = quote(parts.path or "/", safe="/~")
        digest = hashlib.sha256(body).hexdigest()
        signature = self._signature(_canonical(method, path, query, signed, digest), stamp)
        credential = f"Credential={self.keys.access_key_id}/{self._scope(stamp)}"
        names = f"SignedHeaders={';'.join(sorted(signed))}"
        return {**given, "Authorization": f"{ALGORITHM} {credential}, {names}, Signature={signature}"}

    def presigned(self, host: str, query: Mapping[str, str], *, seconds: int, now: datetime) -> str:
        """`host/?…` with the signature of a GET among the parameters, good for `seconds`. `now` is in UTC."""
        stamp = f"{now:%Y%m%dT%H%M%SZ}"
        given = {
            **query,
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{self.keys.access_key_id}/{self._scope(stamp)}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": "host",
        }
        if self.keys.session_token:
            given["X-Amz-Security-Token"] = self.keys.session_token
        signature = self._signature(_canonical("GET", "/", given, {"host": host}, EMPTY_DIGEST), stamp)
        return f"{host}/?{_canonical_query(given)}&X-Amz-Signature={signature}"

    def _signature(self, request: str, stamp: str) -> str:
        key = f"AWS4{self.keys.secret_access_key}".encode()
        for part in self._scope(stamp).split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        text = "\n".join((ALGORITHM, stamp, self._scope(stamp), hashlib.sha256(request.encode()).hexdigest()))
        return hmac.digest(key, text.encode(), "sha256").hex()

    def _scope(self, stamp: str) -> str:
        return f"{stamp[:8]}/{self.region}/{self.service}/aws4_request"


def _canonical(method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], digest: str) -> str:
    """The request as it is signed."""
    lines = [method, path, _canonical_query(query)]
    lines += [f"{name}:{headers[name]}" for name in sorted(headers)]
    return "\n".join([*lines, "", ";".join(sorted(headers)), digest])


def _canonical_query(query: Mapping[str, str]) -> str:
    encoded = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query.items())
    return "&".join(f"{name}={value}" for name, value in encoded)
