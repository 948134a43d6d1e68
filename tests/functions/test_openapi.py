"""The description of the API and the API itself say the same: schemathesis makes requests of it, sensible and not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from redis.asyncio import Redis
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from functions.chat.wire.openapi import describe
from headrace.auth.api_keys import ApiKeyAuthenticator, new_key
from headrace.buckets.files import S3Files
from headrace.rate_limits import RateLimits
from headrace.redis_state.api_keys import RedisApiKeys
from headrace.redis_state.limits import RedisRateLimiter
from headrace.types import Principal, Role
from tests.support.http import served
from tests.support.library import Library
from tests.support.scale import tries

EACH = tries(20, 2_000)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("role", [Role.READER, Role.ADMIN])
async def test_every_request_gets_an_answer_that_is_described(
    chat_app: Callable[..., Any],
    redis: Redis,
    tenant: str,
    library: Library,
    monkeypatch: pytest.MonkeyPatch,
    role: Role,
    mode: GenerationMode,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    await library.put("handbook.docx", "Parental leave is sixteen weeks for every parent.")
    key, record = new_key(Principal(tenant, role=role))
    await RedisApiKeys(redis).save(record)
    app = chat_app(
        authenticator=ApiKeyAuthenticator(RedisApiKeys(redis)),
        limiter=RedisRateLimiter(redis, RateLimits(10**7, 1000)),
        files=S3Files("bucket"),
        deadline_seconds=5.0,
    )
    schema = schemathesis.openapi.from_dict(describe(app))
    schema.config.base_url = "http://placeholder"
    async with served(app) as url:
        statuses = await asyncio.to_thread(_exercise, schema, url, {"authorization": f"Bearer {key}"}, mode)
    assert statuses & ({200, 201} if mode is GenerationMode.POSITIVE else {400}), statuses


def _exercise(schema: Any, url: str, headers: dict[str, str], mode: GenerationMode) -> set[int]:
    """Send each operation many requests; answers with the statuses that came."""
    statuses = set()
    for each in schema.get_all_operations():
        operation = each.ok()

        @settings(
            max_examples=EACH, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            response = case.call(base_url=url, headers=headers, timeout=30)
            case.validate_response(response, checks=CHECKS, headers=headers)
            statuses.add(response.status_code)

        # What has no parameters can't be called wrongly.
        with suppress(Unsatisfiable):
            send()
    return statuses
