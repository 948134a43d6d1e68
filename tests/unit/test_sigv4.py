"""Our signatures are botocore's."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from headrace.clients.sigv4 import AwsKeys, Signer

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
times = st.datetimes(min_value=datetime(2024, 1, 1), max_value=datetime(2040, 1, 1)).map(  # noqa: DTZ001 - strategies take naive ones
    lambda at: at.replace(microsecond=0, tzinfo=UTC)
)
tokens = st.sampled_from(["", "FwoGZXIvYXdzEBYaDH+/=="])


class _At(SigV4Auth):  # type: ignore[misc] # untyped
    """botocore's, at a time of our choosing."""

    stamp = ""

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        request.context["timestamp"] = self.stamp
        super()._modify_request_before_signing(request)


# `.` and `..` are no names of anything; botocore would take them out of the path.
@given(path=words.filter(lambda word: word not in {".", ".."}), body=st.binary(max_size=50), token=tokens, now=times)
def test_headers(path: str, body: bytes, token: str, now: datetime) -> None:
    url = f"https://bedrock-runtime.eu-central-1.amazonaws.com/model/{quote(path, safe='')}/invoke"
    given_headers = {"Content-Type": "application/json", "X-Amz-Target": "secretsmanager.GetSecretValue"}
    ours = Signer(AwsKeys("AKIDEXAMPLE", "secret/+", token), "eu-central-1", "bedrock").headers(
        "POST", url, body, given_headers, now=now
    )
    request = AWSRequest("POST", url, headers=dict(given_headers), data=body)
    signer = _At(Credentials("AKIDEXAMPLE", "secret/+", token or None), "bedrock", "eu-central-1")
    signer.stamp = f"{now:%Y%m%dT%H%M%SZ}"
    request.context["timestamp"] = signer.stamp
    signer._modify_request_before_signing(request)
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    assert ours["Authorization"].endswith(f"Signature={signature}")
    assert signer.signed_headers(signer.headers_to_sign(request)) in ours["Authorization"]


@given(user=words, name=st.from_regex(r"[a-z][a-z0-9-]{0,30}", fullmatch=True), token=tokens, now=times)
def test_a_signed_url(user: str, name: str, token: str, now: datetime) -> None:
    query = {"Action": "connect", "User": user, "ResourceType": "ServerlessCache"}
    ours = Signer(AwsKeys("AKIDEXAMPLE", "secret/+", token), "us-east-1", "elasticache").presigned(
        name, query, seconds=900, now=now
    )
    unsigned, _, signature = ours.partition("&X-Amz-Signature=")
    request = AWSRequest("GET", f"http://{unsigned}")
    request.context["timestamp"] = f"{now:%Y%m%dT%H%M%SZ}"
    signer = SigV4QueryAuth(Credentials("AKIDEXAMPLE", "secret/+", token or None), "elasticache", "us-east-1")
    assert signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request) == signature
