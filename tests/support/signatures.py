"""Checks a request's Signature Version 4 with botocore, as AWS's services do."""

from __future__ import annotations

from collections.abc import Mapping

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def is_signed(
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    query: str = "",
    credentials: Credentials,
    scope: tuple[str, str],
) -> bool:
    """Whether botocore makes the same signature of the request as it came.

    `headers` are by their names in small letters, `path` is as it was sent; `scope` is region and service.
    """
    given = headers.get("authorization", "")
    names = given.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    kept = {name: headers[name] for name in names if name in headers}
    url = f"http://{headers.get('host', '')}{path}{'?' if query else ''}{query}"
    request = AWSRequest(method, url, headers=kept, data=body)
    request.context["timestamp"] = headers.get("x-amz-date", "")
    region, service = scope
    signer = SigV4Auth(Credentials(credentials.access_key, credentials.secret_key), service, region)
    right = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    return given.endswith(f"Signature={right}") and f"Credential={credentials.access_key}/" in given
