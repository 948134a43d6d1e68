"""The emulator of S3 and SQS behind a door: it checks nothing itself, and answers every website.

    python -m infra.local.aws

Takes ministack's own variables. A request must name this machine, come from no other site's page, and carry the signature of
the local key (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html), as S3 and SQS ask it of theirs.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from html import escape
from importlib import import_module
from urllib.parse import parse_qsl

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.auth.loopback import check_local
from headrace.errors import ForbiddenError
from infra.local.bucket import CREDENTIALS

OPEN_PATHS = frozenset({"/_ministack/health"})
# A request's clock may be off by so much.
SKEW_SECONDS = 900
# A form's fields come before its file, and S3 takes no more of them.
MOST_FORM_BYTES = 64 * 1024
HINT = "Sign it with AWS_ACCESS_KEY_ID=local and AWS_SECRET_ACCESS_KEY=local."
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<credential>[^,]+), ?SignedHeaders=(?P<names>[^,]+), ?Signature=(?P<signature>\w+)$"
)
_FIELD = re.compile(rb'name="(?P<name>[^"]+)"(?:\r\n[^\r\n]+)*\r\n\r\n(?P<value>[^\r\n]*)\r\n')


class SignedDoor:
    """ASGI middleware: lets in what this machine signed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        origin = headers.get("origin", "")
        try:
            check_local(headers.get("host", ""), origin)
            if headers.get("sec-fetch-site") == "cross-site":
                raise ForbiddenError("Pages of other sites may not use this server.")
            if scope["method"] != "OPTIONS":
                receive = await _signed(scope, headers, receive)
        except ForbiddenError as error:
            await _refusal(str(error))(scope, receive, send)
            return
        await self._app(scope, receive, _for_origin(origin, send))


async def _signed(scope: Scope, headers: Mapping[str, str], receive: Receive) -> Receive:
    """A `receive` that gives what was read of the body, and the rest. Raises ForbiddenError when the signature is not ours."""
    query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    if given := _AUTHORIZATION.match(headers.get("authorization", "")):
        body = b""
        if "x-amz-content-sha256" not in headers:
            body, receive = await _read(receive, lambda _: False)
        _check(given["signature"], _of_headers(scope, headers, given["credential"], given["names"].split(";"), body))
        _check_time(headers.get("x-amz-date", ""), SKEW_SECONDS)
    elif "X-Amz-Signature" in query:
        _check(query["X-Amz-Signature"], _of_query(scope, headers, query))
        _check_time(query.get("X-Amz-Date", ""), int(query.get("X-Amz-Expires", "0")))
    elif scope["method"] == "POST" and headers.get("content-type", "").startswith("multipart/form-data"):
        body, receive = await _read(receive, lambda body: b'name="file"' in body or len(body) > MOST_FORM_BYTES)
        fields = {found["name"].decode().lower(): found["value"].decode() for found in _FIELD.finditer(body)}
        _check_form(fields)
    else:
        raise ForbiddenError(f"The request is not signed. {HINT}")
    return receive


def _of_headers(scope: Scope, headers: Mapping[str, str], credential: str, names: list[str], body: bytes) -> str:
    region, service = _scope_of(credential)
    request = _request(scope, headers, names, scope["query_string"].decode("latin-1"), body)
    request.context["timestamp"] = headers.get("x-amz-date", "")
    signer = (S3SigV4Auth if service == "s3" else SigV4Auth)(_key(), service, region)
    return str(signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request))


def _of_query(scope: Scope, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    region, service = _scope_of(query.get("X-Amz-Credential", ""))
    names = query.get("X-Amz-SignedHeaders", "").split(";")
    unsigned = "&".join(
        part for part in scope["query_string"].decode("latin-1").split("&") if not part.startswith("X-Amz-Signature=")
    )
    request = _request(scope, headers, names, unsigned, b"")
    request.context["timestamp"] = query.get("X-Amz-Date", "")
    signer = S3SigV4QueryAuth(_key(), service, region)
    return str(signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request))


def _check_form(fields: Mapping[str, str]) -> None:
    """A form's policy is what is signed; that it has not expired is part of it."""
    region, service = _scope_of(fields.get("x-amz-credential", ""))
    policy = fields.get("policy", "")
    signer = S3SigV4Auth(_key(), service, region)
    request = AWSRequest()
    request.context["timestamp"] = fields.get("x-amz-date", "")
    _check(fields.get("x-amz-signature", ""), str(signer.signature(policy, request)))
    expires = datetime.fromisoformat(json.loads(base64.b64decode(policy))["expiration"])
    if expires < datetime.now(UTC):
        raise ForbiddenError("The form has expired. Ask for a new one.")


def _request(scope: Scope, headers: Mapping[str, str], names: list[str], query: str, body: bytes) -> AWSRequest:
    """What was signed, for botocore to sign again."""
    path = scope["raw_path"].decode("latin-1").partition("?")[0]
    url = f"http://{headers.get('host', '')}{path}{'?' if query else ''}{query}"
    kept = {name: headers[name] for name in names if name in headers}
    return AWSRequest(scope["method"], url, headers=kept, data=body)


def _key() -> Credentials:
    return Credentials(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"])


def _scope_of(credential: str) -> tuple[str, str]:
    """The region and the service that a signature is for."""
    key, _, rest = credential.partition("/")
    parts = rest.split("/")
    if key != CREDENTIALS["AWS_ACCESS_KEY_ID"] or len(parts) != 4:
        raise ForbiddenError(f"The request is signed with another key than the local one. {HINT}")
    return parts[1], parts[2]


def _check(given: str, right: str) -> None:
    if not hmac.compare_digest(given.encode(), right.encode()):
        raise ForbiddenError(f"The request's signature is not right. {HINT}")


def _check_time(stamp: str, seconds: float) -> None:
    try:
        signed_at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise ForbiddenError("The request does not say when it was signed.") from None
    if not -SKEW_SECONDS <= time.time() - signed_at <= seconds:
        raise ForbiddenError("The request's signature has expired. Check the clock.")


async def _read(receive: Receive, is_enough: Callable[[bytes], bool]) -> tuple[bytes, Receive]:
    """The start of the body, and a `receive` that gives it once more, and then the rest."""
    held: list[Message] = []
    body = b""
    while True:
        message = await receive()
        held.append(message)
        body += message.get("body", b"")
        if not message.get("more_body") or is_enough(body):
            break

    async def again() -> Message:
        return held.pop(0) if held else await receive()

    return body, again


def _for_origin(origin: str, send: Send) -> Send:
    """The emulator says that every website may read what it answers; only a page of this machine may."""

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message["headers"]))
            if "access-control-allow-origin" in headers:
                del headers["access-control-allow-origin"]
            if origin:
                headers["access-control-allow-origin"] = origin
                headers.add_vary_header("origin")
            message = {**message, "headers": headers.raw}
        await send(message)

    return answer


def _refusal(sentence: str) -> Response:
    body = f'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>{escape(sentence)}</Message></Error>'
    return Response(body, status_code=403, media_type="application/xml")


def main() -> None:
    """Serve until told to stop."""
    emulator = import_module("ministack.app")

    vars(emulator)["app"] = SignedDoor(emulator.app)
    emulator.main()


if __name__ == "__main__":
    main()
