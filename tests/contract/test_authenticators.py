"""Every way of knowing who asks: who is let in, as whom, and who is not."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from headrace import wiring
from headrace.auth import jwt as tokens
from headrace.auth.api_keys import new_key
from headrace.errors import ConfigurationError, ForbiddenError, UnauthenticatedError, UnavailableError
from headrace.protocols import Authenticator
from headrace.redis_state.api_keys import RedisApiKeys
from headrace.settings import Settings
from headrace.types import Credentials, Limits, Principal, Role, read_api_key
from tests.support.http import served

ISSUER, AUDIENCE = "https://login.example.com", "headrace"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


def shown(iam: Mapping[str, Any] | None = None, client: str = "203.0.113.9", **headers: str) -> Credentials:
    return Credentials({name.replace("_", "-"): value for name, value in headers.items()}, iam or {}, client)


def bearer(token: str) -> Credentials:
    return shown(authorization=f"Bearer {token}")


async def opened(stack: AsyncExitStack, redis: Redis, **settings: Any) -> Authenticator:
    return await stack.enter_async_context(wiring.open_authenticator(Settings(**settings), redis))


# None: this machine alone.


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "app.localhost:8000", "[::1]:8000"])
async def test_without_authentication_this_machine_is_one_principal(
    stack: AsyncExitStack, redis: Redis, host: str
) -> None:
    door = await opened(stack, redis, auth_tenant="acme", auth_groups="hr, board", auth_role="writer")
    principal = await door.authenticate(shown(client="127.0.0.1", host=host))
    assert principal == Principal("acme", frozenset({"hr", "board"}), "local", Role.WRITER)


@pytest.mark.parametrize(
    ("client", "headers", "fault"),
    [
        ("203.0.113.9", {"host": "localhost"}, UnauthenticatedError),
        ("", {"host": "localhost"}, UnauthenticatedError),
        ("127.0.0.1", {"host": "evil.example"}, ForbiddenError),
        ("127.0.0.1", {}, ForbiddenError),
        ("127.0.0.1", {"host": "localhost", "origin": "https://evil.example"}, ForbiddenError),
        ("127.0.0.1", {"host": "localhost", "origin": "null"}, ForbiddenError),
        ("127.0.0.1", {"host": "localhost.evil.example"}, ForbiddenError),
    ],
)
async def test_without_authentication_nobody_else_comes_in(
    stack: AsyncExitStack, redis: Redis, client: str, headers: dict[str, str], fault: type[Exception]
) -> None:
    """Neither other machines, nor pages of other sites that a browser on this one runs, whatever their DNS says."""
    door = await opened(stack, redis)
    with pytest.raises(fault):
        await door.authenticate(Credentials(headers, {}, client))


# IAM.


RULES = json.dumps({
    "arn:aws:sts::1:assumed-role/Staff/*": {"tenant": "acme", "groups": ["hr"], "role": "writer", "tokens_per_day": 5},
    "arn:aws:iam::1:user/*": {"tenant": "beta"},
})  # fmt: skip


async def test_an_iam_identity_is_mapped_to_a_principal(stack: AsyncExitStack, redis: Redis) -> None:
    door = await opened(stack, redis, auth="iam", iam_principals=RULES)
    staff = await door.authenticate(shown({"userArn": "arn:aws:sts::1:assumed-role/Staff/anna"}))
    # All sessions of a role share its limits; their conversations are apart.
    assert staff == Principal(
        "acme", frozenset({"hr"}), "arn:aws:sts::1:assumed-role/Staff", Role.WRITER, Limits(tokens_per_day=5), "anna"
    )
    user = await door.authenticate(shown({"userArn": "arn:aws:iam::1:user/bob"}))
    assert user == Principal("beta", frozenset(), "arn:aws:iam::1:user/bob", Role.READER)


async def test_an_iam_identity_that_no_rule_names_is_forbidden(stack: AsyncExitStack, redis: Redis) -> None:
    door = await opened(stack, redis, auth="iam", iam_principals=RULES)
    for arn in ("arn:aws:iam::2:user/bob", "arn:aws:sts::1:assumed-role/Staffer/x", "ARN:AWS:IAM::1:USER/bob"):
        with pytest.raises(ForbiddenError, match="IAM_PRINCIPALS"):
            await door.authenticate(shown({"userArn": arn}))


async def test_a_header_is_no_iam_identity(stack: AsyncExitStack, redis: Redis) -> None:
    door = await opened(stack, redis, auth="iam")
    with pytest.raises(UnauthenticatedError, match="Signature Version 4"):
        await door.authenticate(shown(authorization="AWS4-HMAC-SHA256 Credential=x", userarn="arn:aws:iam::1:user/a"))


@pytest.mark.parametrize(
    "rules", ["[]", "{", '{"*": 1}', '{"*": {"role": "king"}}', '{"*": {"tenant": "a/b"}}', '{"*": {"streams": -1}}',
              '{"*": {"groups": ["a,b"]}}']
)  # fmt: skip
async def test_rules_that_make_no_sense_are_refused_at_the_start(
    stack: AsyncExitStack, redis: Redis, rules: str
) -> None:
    with pytest.raises(ConfigurationError, match="IAM_PRINCIPALS"):
        await opened(stack, redis, auth="iam", iam_principals=rules)


# API keys.


async def test_an_api_key_holds_until_it_is_revoked(stack: AsyncExitStack, redis: Redis) -> None:
    keys = RedisApiKeys(redis)
    principal = Principal("acme", frozenset({"hr"}), "key:1", Role.WRITER, Limits(10, 2, 1000))
    key, record = new_key(principal, label="Anna's laptop")
    await keys.save(record)
    door = await opened(stack, redis, auth="api_keys")
    assert await door.authenticate(bearer(key)) == principal
    assert await door.authenticate(shown(x_api_key=key)) == principal
    assert record in await keys.all()
    assert await keys.revoke(record.id)
    assert not await keys.revoke(record.id)
    with pytest.raises(UnauthenticatedError, match="revoked"):
        await door.authenticate(bearer(key))


async def test_what_is_kept_of_a_key_does_not_open_the_door(stack: AsyncExitStack, redis: Redis) -> None:
    key, record = new_key(Principal())
    await RedisApiKeys(redis).save(record)
    secret = key.rpartition("_")[2]
    assert secret not in record.to_json()
    assert "secret" not in json.dumps(record.describe())
    door = await opened(stack, redis, auth="api_keys")
    for wrong in (f"headrace_{record.id}_{record.secret_hash}", f"headrace_{'0' * 16}_{secret}", key[:-1], key + "0",
                  key.upper(), "headrace_", f"{key}\n"):  # fmt: skip
        with pytest.raises(UnauthenticatedError):
            await door.authenticate(shown(x_api_key=wrong))
    assert await door.authenticate(bearer(key)) == record.principal


async def test_an_expired_key_is_told_so(stack: AsyncExitStack, redis: Redis) -> None:
    key, record = new_key(Principal(), expires_at=time.time() - 1)
    await RedisApiKeys(redis).save(record)
    door = await opened(stack, redis, auth="api_keys")
    with pytest.raises(UnauthenticatedError, match="expired"):
        await door.authenticate(bearer(key))


async def test_a_key_of_the_settings_needs_no_redis(stack: AsyncExitStack) -> None:
    key, record = new_key(Principal("acme", id="ci", role=Role.ADMIN))
    nowhere = await stack.enter_async_context(wiring.open_redis(Settings(redis_url="redis://127.0.0.1:9/0")))
    door = await opened(stack, nowhere, auth="api_keys", api_keys=f"[{record.to_json()}]")
    assert await door.authenticate(bearer(key)) == record.principal
    with pytest.raises(UnavailableError):
        await door.authenticate(bearer(new_key(Principal())[0]))
    with pytest.raises(ConfigurationError, match="API_KEYS"):
        await opened(stack, nowhere, auth="api_keys", api_keys='[{"id": "x"}]')


def test_a_key_s_record_reads_as_it_was_written() -> None:
    _, record = new_key(Principal("acme", frozenset({"b", "a"}), "p", Role.ADMIN, Limits(1, None, 3)), expires_at=5.0)
    assert read_api_key(record.to_json()) == record


# JSON Web Tokens.


def jwk(private: Any, key_id: str | None, algorithm: str) -> dict[str, Any]:
    read = jwt.algorithms.get_default_algorithms()[algorithm]
    described: dict[str, Any] = read.to_jwk(private.public_key(), as_dict=True)
    return described | {"alg": algorithm, "use": "sig"} | ({"kid": key_id} if key_id else {})


KEYS = {"keys": [jwk(RSA, "r1", "RS256"), jwk(EC, "e1", "ES256"), {"kty": "strange", "kid": "s"}]}
CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "groups": ["hr"], "role": ["user", "writer"], "org": "acme"}
SETTINGS: dict[str, Any] = {
    "auth": "jwt", "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_keys": json.dumps(KEYS), "jwt_tenant_claim": "org",
}  # fmt: skip


def token(key: Any = RSA, algorithm: str = "RS256", key_id: str | None = "r1", **claims: Any) -> str:
    said = {**CLAIMS, "exp": time.time() + 300, **claims}
    said = {name: value for name, value in said.items() if value is not None}
    return jwt.encode(said, key, algorithm, headers={"kid": key_id} if key_id else None)


async def test_a_token_says_who_asks(stack: AsyncExitStack, redis: Redis) -> None:
    door = await opened(stack, redis, **SETTINGS)
    anna = Principal("acme", frozenset({"hr"}), "anna", Role.WRITER)
    assert await door.authenticate(bearer(token())) == anna
    assert await door.authenticate(bearer(token(EC, "ES256", "e1"))) == anna
    # Clocks differ by a few seconds.
    assert await door.authenticate(bearer(token(exp=time.time() - 20))) == anna
    plain = await door.authenticate(bearer(token(groups=None, role="boss")))
    assert plain == Principal("acme", frozenset(), "anna", Role.READER)


def public_pem() -> bytes:
    return RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda: token(exp=time.time() - 120), "expired"),
        (lambda: token(exp=None), "exp"),
        (lambda: token(sub=None), "sub"),
        (lambda: token(nbf=time.time() + 120), "not valid yet"),
        (lambda: token(iss="https://evil.example"), "another"),
        (lambda: token(aud="other"), "another"),
        (lambda: token(OTHER_RSA), "signature"),
        (lambda: token(key_id="unknown"), "signature"),
        (lambda: token(EC, "ES256", "r1"), "signature"),
        (lambda: jwt.encode({**CLAIMS, "exp": time.time() + 9}, "", "none", headers={"kid": "r1"}), "kind"),
        (lambda: jwt.encode({**CLAIMS, "exp": time.time() + 9}, "x" * 64, "HS256", headers={"kid": "r1"}), "kind"),
        (lambda: token()[:-6] + "AAAAAA", "signature"),
        (lambda: "a.b.c", "signature"),
        (lambda: "..", "signature"),
        (lambda: token(pad="x" * 20_000), "characters"),
    ],
)
async def test_a_token_that_does_not_hold_is_refused(
    stack: AsyncExitStack, redis: Redis, wrong: Any, reason: str
) -> None:
    door = await opened(stack, redis, **SETTINGS)
    with pytest.raises(UnauthenticatedError, match=reason):
        await door.authenticate(bearer(wrong()))


@pytest.mark.parametrize("claims", [{"org": None}, {"org": "a/b"}, {"org": 7}, {"groups": 5}, {"groups": ["a,b"]}])
async def test_a_token_whose_claims_name_nobody_is_forbidden(
    stack: AsyncExitStack, redis: Redis, claims: dict[str, Any]
) -> None:
    door = await opened(stack, redis, **SETTINGS)
    with pytest.raises(ForbiddenError):
        await door.authenticate(bearer(token(**claims)))


@pytest.fixture
async def provider() -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """An identity provider's list of keys, and what it answers next."""
    state: dict[str, Any] = {"keys": KEYS, "asked": 0, "status": 200}

    async def keys(request: Request) -> JSONResponse:
        state["asked"] += 1
        return JSONResponse(state["keys"], status_code=state["status"])

    async with served(Starlette(routes=[Route("/jwks", keys)])) as url:
        yield f"{url}/jwks", state


async def test_rotated_keys_are_fetched_and_strangers_cannot_make_us_ask(
    stack: AsyncExitStack, redis: Redis, provider: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, state = provider
    door = await opened(stack, redis, **{**SETTINGS, "jwt_keys": url})
    for _ in range(3):
        await door.authenticate(bearer(token()))
    assert state["asked"] == 1
    state["keys"] = {"keys": [jwk(OTHER_RSA, "r2", "RS256")]}
    for _ in range(3):
        with pytest.raises(UnauthenticatedError):
            await door.authenticate(bearer(token(OTHER_RSA, key_id="r2")))
    assert state["asked"] == 1, "an unknown key is looked for again after a while, not each time"
    monkeypatch.setattr(tokens, "REFETCH_SECONDS", 0.0)
    await door.authenticate(bearer(token(OTHER_RSA, key_id="r2")))
    assert state["asked"] == 2
    with pytest.raises(UnauthenticatedError):
        await door.authenticate(bearer(token()))
    # The provider is away: the keys that are known hold.
    state["status"] = 500
    await door.authenticate(bearer(token(OTHER_RSA, key_id="r2")))


async def test_without_any_keys_nobody_is_told_that_his_token_is_wrong(
    stack: AsyncExitStack, redis: Redis, provider: tuple[str, dict[str, Any]]
) -> None:
    url, state = provider
    state["keys"] = {"keys": []}
    door = await opened(stack, redis, **{**SETTINGS, "jwt_keys": url})
    with pytest.raises(UnavailableError, match="JWT_KEYS"):
        await door.authenticate(bearer(token()))


# Several.


async def test_several_ways_are_tried_in_their_order(stack: AsyncExitStack, redis: Redis) -> None:
    key, record = new_key(Principal("acme", id="key"))
    await RedisApiKeys(redis).save(record)
    door = await opened(stack, redis, **{**SETTINGS, "auth": "api_keys, jwt"})
    assert await door.authenticate(bearer(key)) == record.principal
    assert (await door.authenticate(bearer(token()))) == Principal("acme", frozenset({"hr"}), "anna", Role.WRITER)
    for nothing in (shown(), bearer(""), bearer("sk-123"), shown(authorization="Basic YTpi"), shown(host="localhost")):
        with pytest.raises(UnauthenticatedError, match="API key"):
            await door.authenticate(nothing)


@pytest.mark.parametrize("auth", ["", "open", "none,iam", "jwt", "api_keys,,iam"])
def test_a_door_without_a_way_in_is_no_configuration(auth: str) -> None:
    if not auth:
        assert Settings.from_env({"AUTH": ""}).authenticators == ("none",)
        return
    with pytest.raises(ConfigurationError, match="AUTH"):
        Settings.from_env({"AUTH": auth})
