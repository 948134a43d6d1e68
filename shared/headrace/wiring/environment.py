"""Wiring of settings: what the environment says, and what the secret adds that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

from headrace.errors import ConfigurationError
from headrace.settings import EXTRACTIVE_MODEL, LOCAL_EMBEDDING_MODEL, Settings

if TYPE_CHECKING:
    from headrace.clients.aws import AwsAccess


async def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings; where SECRET_ARN names a secret, its values count where the environment says nothing.

    Raises ConfigurationError, also for a value that the choices made need and nobody gives; UnavailableError.
    """
    settings = Settings.from_env(environ)
    if not settings.secret_arn:
        return settings
    from headrace.clients.aws import read_secret

    secret = await read_secret(aws_access(settings), settings.secret_arn)
    unknown = secret.keys() - {field.name.upper() for field in fields(Settings)}
    if unknown:
        raise ConfigurationError(
            f"The secret {settings.secret_arn} has {', '.join(sorted(unknown))}, which is no setting. Its names are those in "
            "docs/settings.md."
        )
    settings = Settings.from_env({**secret, **{name: value for name, value in environ.items() if value}})
    unset = Settings()
    missing = [n for n in _needed(settings) if getattr(settings, n.lower()) == getattr(unset, n.lower())]
    if missing:
        raise ConfigurationError(
            f"The secret {settings.secret_arn} lacks {', '.join(missing)}. Add it: aws secretsmanager put-secret-value "
            f"--secret-id {settings.secret_arn} --secret-string '{{…}}'."
        )
    return settings


def aws_access(settings: Settings) -> AwsAccess:
    """Where this process stands in AWS, and the keys that its environment gives, if it does."""
    from headrace.clients.aws import AwsAccess
    from headrace.clients.sigv4 import AwsKeys

    keys = None
    if settings.aws_access_key_id:
        keys = AwsKeys(settings.aws_access_key_id, settings.aws_secret_access_key, settings.aws_session_token)
    return AwsAccess(settings.aws_region or settings.aws_default_region, keys, settings.aws_endpoint_url)


def _needed(settings: Settings) -> list[str]:
    """What the vendors chosen can't be asked without, and where nothing here is right by default."""
    needed = ["REDIS_URL"]
    uses_model = {settings.chat_model, settings.embedding_model} - {EXTRACTIVE_MODEL, LOCAL_EMBEDDING_MODEL}
    if uses_model and settings.openai_provider != "bedrock" and not settings.openai_base_url:
        needed.append("OPENAI_API_KEY")
    needed += {"qdrant": ["QDRANT_URL"], "pinecone": ["PINECONE_API_KEY"], "s3vectors": ["VECTOR_BUCKET"]}.get(
        settings.vector_store, []
    )
    return needed
