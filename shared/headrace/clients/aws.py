"""What the functions ask of AWS itself: whose keys hold now, and what a secret says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import aiohttp
from yarl import URL

from headrace.clients.http import JSON_HEADERS, Api, JsonApi, open_json_api
from headrace.clients.sigv4 import AwsKeys, Signer
from headrace.errors import ConfigurationError, UnavailableError

CALL_SECONDS = 10.0
ARN_COLONS = 6
HOW_TO_SET = (
    'Set it anew: aws secretsmanager put-secret-value --secret-id <ARN> --secret-string \'{"OPENAI_API_KEY": "…"}\'.'
)


@dataclass(frozen=True, slots=True)
class AwsAccess:
    """Where this process stands in AWS. `fixed` are the keys that Lambda puts into its environment.

    `endpoint_url` is that of an emulator, or empty.
    """

    region: str
    fixed: AwsKeys | None = None
    endpoint_url: str = ""

    async def keys(self) -> AwsKeys:
        """The keys that hold now: Lambda's, or what botocore finds, which also renews them. Raises ConfigurationError."""
        return self.fixed if self.fixed is not None else await asyncio.to_thread(self.keys_at_once)

    def keys_at_once(self) -> AwsKeys:
        """The same, for threads that may wait."""
        return self.fixed if self.fixed is not None else _found_keys()


@dataclass(frozen=True, slots=True)
class AwsReply:
    """A service's answer."""

    status: int
    text: str
    retry_after: str | None


class AwsApi:
    """A service's API over one pooled session; each request is signed with the keys of then."""

    def __init__(self, session: aiohttp.ClientSession, access: AwsAccess, service: str, url: str) -> None:
        self._session = session
        self._access = access
        self._service = service
        self._url = url.rstrip("/")

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> AwsReply:
        """The answer, whatever its status. `path` is percent-encoded. Raises UnavailableError, ConfigurationError."""
        signer = Signer(await self._access.keys(), self._access.region, self._service)
        url = self._url + path
        signed = signer.headers("POST", url, body, headers, now=datetime.now(UTC))
        try:
            # The path is signed as it is written: the client must not write it anew.
            async with self._session.post(URL(url, encoded=True), data=body, headers=signed) as response:
                return AwsReply(response.status, await response.text(), response.headers.get("Retry-After"))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise UnavailableError(f"{self._url} does not answer ({type(error).__name__}). Try again.") from error


@asynccontextmanager
async def open_aws_api(access: AwsAccess, service: str, *, host: str) -> AsyncIterator[AwsApi]:
    """A service of the region: `<host>.<region>.amazonaws.com`. Connects at its first call, closes its connections at the end."""
    url = access.endpoint_url or _url(host, access.region)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_SECONDS)) as session:
        yield AwsApi(session, access, service, url)


@asynccontextmanager
async def open_signed_api(access: AwsAccess, service: str, api: Api) -> AsyncIterator[JsonApi]:
    """A newer service of the region, which speaks JSON: `<service>.<region>.api.aws`. Each request is signed with the keys of then."""

    async def sign(method: str, url: str, content: bytes) -> Mapping[str, str]:
        signer = Signer(await access.keys(), access.region, service)
        return signer.headers(method, url, content, JSON_HEADERS, now=datetime.now(UTC))

    url = access.endpoint_url or dual_stack_url(service, access.region)
    async with open_json_api(url, api, headers={}, sign=sign) as opened:
        yield opened


async def read_secret(access: AwsAccess, arn: str) -> Mapping[str, str]:
    """The names and values in a secret of Secrets Manager. Raises ConfigurationError, UnavailableError.

    Source: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
    """
    region = arn.split(":")[3] if arn.count(":") >= ARN_COLONS else access.region
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "secretsmanager.GetSecretValue"}
    async with open_aws_api(replace(access, region=region), "secretsmanager", host="secretsmanager") as api:
        reply = await api.post("/", json.dumps({"SecretId": arn}).encode(), headers)
    if reply.status >= 500 or reply.status == 429:
        raise UnavailableError(f"Secrets Manager answered with status {reply.status}. Try again.")
    if reply.status >= 400:
        raise ConfigurationError(
            f"The secret {arn} can't be read ({_kind(reply)}). Check SECRET_ARN, and that the role may call "
            "secretsmanager:GetSecretValue, and kms:Decrypt where it has a key of its own."
        )
    return _values(arn, reply.text)


def _kind(reply: AwsReply) -> str:
    """The fault's name, without its message."""
    try:
        return str(json.loads(reply.text)["__type"]).rpartition("#")[2]
    except (ValueError, LookupError, TypeError):
        return f"status {reply.status}"


def _values(arn: str, text: str) -> Mapping[str, str]:
    try:
        given = json.loads(json.loads(text)["SecretString"])
    except (ValueError, LookupError, TypeError):
        given = None
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        # What it holds is not repeated: it may be a secret in another form.
        raise ConfigurationError(f"The secret {arn} is no JSON object of strings. {HOW_TO_SET}")
    return given


def dual_stack_url(service: str, region: str) -> str:
    """Where a service is that AWS has under its newer names alone."""
    return f"https://{service}.{region}.{'api.amazonwebservices.com.cn' if region.startswith('cn-') else 'api.aws'}"


def _url(host: str, region: str) -> str:
    return f"https://{host}.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def _found_keys() -> AwsKeys:
    # A third of a second to import; on Lambda only under SnapStart, before the snapshot is taken.
    import botocore.session

    found = botocore.session.get_session().get_credentials()
    if found is None:
        raise ConfigurationError(
            "There are no AWS credentials. Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    frozen = found.get_frozen_credentials()
    return AwsKeys(frozen.access_key, frozen.secret_key, frozen.token or "")
