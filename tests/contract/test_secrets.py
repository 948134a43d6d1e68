"""Settings from a secret of Secrets Manager, read with our own signature."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable

import boto3
import pytest

from headrace.errors import ConfigurationError, UnavailableError
from headrace.settings import Settings
from headrace.wiring import read_settings
from infra.local.processes import free_port

GIVEN = {"OPENAI_API_KEY": "sk-secret", "QDRANT_URL": "https://q", "REDIS_URL": "rediss://r:6379"}


@pytest.fixture
def environ(aws_url: str) -> Callable[..., dict[str, str]]:
    """An environment that names a secret with this text."""
    client = boto3.client(
        "secretsmanager",
        endpoint_url=aws_url,
        region_name="us-east-1",
        aws_access_key_id="k",
        aws_secret_access_key="s",
    )

    def make(text: str, **more: str) -> dict[str, str]:
        arn = client.create_secret(Name=f"test-{uuid.uuid4().hex}", SecretString=text)["ARN"]
        access = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}
        return {"SECRET_ARN": arn, "AWS_ENDPOINT_URL": aws_url, **access, **more}

    return make


async def test_its_values_are_settings_where_the_environment_says_nothing(
    environ: Callable[..., dict[str, str]],
) -> None:
    given = await asyncio.to_thread(environ, json.dumps(GIVEN), REDIS_URL="rediss://own:6379", QDRANT_URL="")
    settings = await read_settings(given)
    assert settings.openai_api_key == "sk-secret"
    assert settings.qdrant_url == "https://q", "an empty variable says nothing"
    assert settings.redis_url == "rediss://own:6379", (
        "the stack's own server comes before one that is left in the secret"
    )
    assert settings.chat_model == "gpt-4.1-mini", "a key turns the model on, wherever it stands"


async def test_without_a_secret_the_environment_is_all() -> None:
    assert await read_settings({"BUCKET": "b"}) == Settings(bucket="b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sk-not-json", "no JSON object"),
        ('["sk-list"]', "no JSON object"),
        ('{"OPENAI_API_KEY": 5}', "no JSON object"),
        ('{"OPENAI_APIKEY": "sk-typo"}', "OPENAI_APIKEY, which is no setting"),
        ("{}", "lacks REDIS_URL, QDRANT_URL"),
        (json.dumps({**GIVEN, "CHAT_MODEL": "m", "OPENAI_API_KEY": ""}), "lacks OPENAI_API_KEY"),
        (json.dumps({**GIVEN, "VECTOR_STORE": "pinecone"}), "lacks PINECONE_API_KEY"),
    ],
)
async def test_a_secret_that_is_not_right_is_named_and_not_told(
    environ: Callable[..., dict[str, str]], text: str, message: str
) -> None:
    given = await asyncio.to_thread(environ, text)
    with pytest.raises(ConfigurationError, match=message) as caught:
        await read_settings(given)
    assert "sk-" not in str(caught.value)


async def test_bedrock_needs_no_key(environ: Callable[..., dict[str, str]]) -> None:
    text = json.dumps({"QDRANT_URL": "https://q", "REDIS_URL": "rediss://r", "CHAT_MODEL": "openai.gpt-oss-120b-1:0"})
    settings = await read_settings(await asyncio.to_thread(environ, text, OPENAI_PROVIDER="bedrock"))
    assert settings.openai_api_key == ""


async def test_no_secret_and_no_server(environ: Callable[..., dict[str, str]]) -> None:
    given = await asyncio.to_thread(environ, "{}")
    missing = {**given, "SECRET_ARN": given["SECRET_ARN"][:-3] + "xyz"}
    with pytest.raises(ConfigurationError, match="can't be read \\(ResourceNotFoundException\\)"):
        await read_settings(missing)
    with pytest.raises(UnavailableError, match="does not answer"):
        await read_settings({**given, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"})


def test_no_secret_is_shown_with_the_settings() -> None:
    shown = repr(
        Settings(openai_api_key="sk-1", redis_url="redis://:sk-2@h", qdrant_api_key="sk-3", aws_secret_access_key="sk-4",
                 pinecone_api_key="sk-5", fallback_api_key="sk-6", rerank_api_key="sk-7", agent_tool_secrets="sk-8", api_keys="sk-9")
    )  # fmt: skip
    assert "sk-" not in shown
