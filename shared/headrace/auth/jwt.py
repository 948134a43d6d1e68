"""JSON Web Tokens of an identity provider: signature, issuer, audience and times are checked; claims name the rest.

Only asymmetric signatures are taken, so that a public key can't be mistaken for a shared secret (RFC 8725, 3.1).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from headrace.errors import ConfigurationError, ForbiddenError, HeadraceError, UnauthenticatedError, UnavailableError
from headrace.types import Credentials, Principal, Role, read_principal

CHALLENGE = "Send a token of this deployment's identity provider: `Authorization: Bearer …`."
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
MOST_TOKEN_CHARACTERS = 16_000
# Keys are fetched anew when they are so old, or when a token names one that is not among them, but not more often than that.
KEYS_SECONDS = 3600.0
REFETCH_SECONDS = 30.0
Fetch = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say, and which of its claims name tenant, groups and role. Without a tenant's claim, all are one."""

    issuer: str
    audience: str
    tenant_claim: str = ""
    groups_claim: str = "groups"
    role_claim: str = "role"
    leeway_seconds: float = 60.0


class KeySet:
    """The keys of an identity provider, by id: given once, or fetched, kept, and fetched anew when they are rotated."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def key(self, key_id: str | None) -> jwt.PyJWK | None:
        """The key of this id. Raises UnavailableError while there are no keys at all."""
        async with self._fetching:
            age_seconds = time.monotonic() - self._fetched_at
            is_unknown = key_id not in self._keys
            if age_seconds > KEYS_SECONDS or (is_unknown and age_seconds > REFETCH_SECONDS):
                await self._refresh()
        return self._keys.get(key_id)

    async def _refresh(self) -> None:
        try:
            keys = read_keys(await self._fetch())
        except UnavailableError:
            # The keys from before hold until the provider answers again.
            if not self._keys:
                raise
        else:
            self._keys = keys
        self._fetched_at = time.monotonic()


class JwtAuthenticator:
    """An Authenticator for bearer tokens."""

    challenge = CHALLENGE

    def __init__(self, keys: KeySet, rules: TokenRules) -> None:
        self._keys = keys
        self._rules = rules

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        token = credentials.bearer
        if token.count(".") != 2:
            return None
        try:
            return self._principal(await self._claims(token))
        except (jwt.PyJWTError, RecursionError) as error:
            raise UnauthenticatedError(f"This token does not hold: {_reason(error)}. Sign in again.") from error

    async def _claims(self, token: str) -> Mapping[str, Any]:
        if len(token) > MOST_TOKEN_CHARACTERS:
            raise UnauthenticatedError(f"This token has more than {MOST_TOKEN_CHARACTERS:,} characters.")
        header = jwt.get_unverified_header(token)
        # Before any key is looked for: a token that could never hold must not make us ask the provider.
        if header.get("alg") not in ALGORITHMS:
            raise jwt.InvalidAlgorithmError
        key = await self._keys.key(header.get("kid"))
        if key is None:
            raise jwt.InvalidKeyError
        rules = self._rules
        claims: Mapping[str, Any] = jwt.decode(
            token,
            key.key,
            algorithms=[key.algorithm_name],
            audience=rules.audience,
            issuer=rules.issuer,
            leeway=rules.leeway_seconds,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        return claims

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        rules = self._rules
        who: dict[str, Any] = {"groups": claims.get(rules.groups_claim), "role": self._role(claims)}
        if rules.tenant_claim:
            who["tenant"] = claims.get(rules.tenant_claim)
            if not who["tenant"]:
                raise ForbiddenError(f"This token names no tenant in its claim {rules.tenant_claim!r}. Ask the owner.")
        try:
            return read_principal(who, id=claims["sub"])
        except ValueError as error:
            raise ForbiddenError(f"This token's claims can't be used: {error}.") from error

    def _role(self, claims: Mapping[str, Any]) -> str:
        """The highest of the roles that the claim names; what is none of ours says nothing."""
        named = claims.get(self._rules.role_claim)
        names = named if isinstance(named, list) else [named]
        return max((role for role in Role if role in names), key=list(Role).index, default=Role.READER)


def read_keys(document: Any) -> dict[str | None, jwt.PyJWK]:
    """The keys of a JWKS that can check signatures. Raises UnavailableError when it is none, or has none."""
    found: dict[str | None, jwt.PyJWK] = {}
    listed = document.get("keys") if isinstance(document, Mapping) else None
    for each in listed if isinstance(listed, list) else ():
        try:
            key = jwt.PyJWK.from_dict(each)
        except (jwt.PyJWTError, AttributeError, TypeError, ValueError):
            # A provider may list keys of kinds that we don't know.
            continue
        if key.algorithm_name in ALGORITHMS and each.get("use", "sig") == "sig":
            found[key.key_id] = key
    if not found:
        raise UnavailableError("The identity provider's keys (JWT_KEYS) can't be used: it lists no key for signatures.")
    return found


def inline_keys(text: str) -> KeySet:
    """Keys that stand in the setting. Raises ConfigurationError when they can't be read."""
    try:
        document = json.loads(text)
        read_keys(document)
    except (ValueError, HeadraceError) as error:
        raise ConfigurationError("JWT_KEYS must be a JWKS with a key for signatures, or the URL of one.") from error

    async def fetch() -> Any:
        return document

    return KeySet(fetch)


def _reason(error: Exception) -> str:
    match error:
        case jwt.ExpiredSignatureError():
            return "it has expired"
        case jwt.ImmatureSignatureError():
            return "it is not valid yet"
        case jwt.InvalidAudienceError() | jwt.InvalidIssuerError():
            return "it was made for another service, or by another provider"
        case jwt.MissingRequiredClaimError(claim=claim):
            return f"it has no claim {claim!r}"
        case jwt.InvalidAlgorithmError():
            return "its signature is of a kind that is not taken here"
    return "its signature can't be confirmed"
