"""The only reader of the environment: variables in, one frozen value out. docs/settings.md lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from headrace.errors import ConfigurationError

LOCAL_EMBEDDING_MODEL = "all-MiniLM-L6-v2"
EXTRACTIVE_MODEL = "extractive"
DEFAULT_OPENAI_MODEL = "gpt-4.1-mini"
PUBLIC_CACHE_TIMEOUT_SECONDS = 0.25
CHOICES = {
    "vector_store": ("qdrant", "pinecone", "s3vectors", "redis", "embedded"),
    "parser": ("unstructured", "unstructured-api"),
    "cache_index": ("local", "server"),
    "cache_judge": ("on", "off"),
    "redis_mode": ("standalone", "cluster"),
    "auth_role": ("reader", "writer", "admin"),
    "openai_citations": ("none", "footer", "inline"),
    "agent_private_hosts": ("refused", "allowed"),
    "metrics": ("", "off", "cloudwatch", "prometheus"),
    "tenant_metrics": ("on", "off"),
    "ledger": ("", "off", "logs", "sql"),
    "ledger_content": ("full", "none"),
}
AUTHENTICATORS = ("none", "iam", "api_keys", "jwt")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a function needs to know, each field from the variable of the same name in capitals."""

    auth: str = "none"
    auth_tenant: str = "default"
    auth_groups: str = ""
    auth_role: str = "admin"
    api_keys: str = field(default="", repr=False)
    iam_principals: str = ""
    jwt_issuer: str = ""
    jwt_audience: str = ""
    jwt_keys: str = ""
    jwt_tenant_claim: str = ""
    jwt_groups_claim: str = "groups"
    jwt_role_claim: str = "role"
    jwt_leeway_seconds: float = 60.0
    requests_per_minute: int = 60
    streams_per_principal: int = 8
    tokens_per_day: int = 0
    daily_token_limit: int = 0
    most_open_requests: int = 128
    bucket: str = "headrace-documents"
    redis_url: str = field(default="redis://127.0.0.1:6379/0", repr=False)
    redis_mode: str = "standalone"
    redis_cache_name: str = ""
    redis_user: str = "default.iam-user"
    vector_store: str = "qdrant"
    qdrant_url: str = "http://127.0.0.1:6333"
    qdrant_api_key: str = field(default="", repr=False)
    pinecone_api_key: str = field(default="", repr=False)
    pinecone_url: str = "https://api.pinecone.io"
    pinecone_cloud: str = "aws"
    pinecone_region: str = "us-east-1"
    vector_bucket: str = ""
    vector_redis_url: str = field(default="", repr=False)
    embedded_folder: str = ".headrace/engine"
    collection_prefix: str = "headrace"
    openai_api_key: str = field(default="", repr=False)
    openai_base_url: str = ""
    openai_provider: str = "auto"
    chat_model: str = EXTRACTIVE_MODEL
    fallback_models: str = ""
    fallback_base_url: str = ""
    fallback_api_key: str = field(default="", repr=False)
    fallback_provider: str = "auto"
    model_idle_timeout_seconds: float = 60.0
    embedding_model: str = LOCAL_EMBEDDING_MODEL
    embedding_batch: int = 64
    log_level: str = "INFO"
    answer_max_tokens: int = 1024
    answer_deadline_seconds: float = 120.0
    agent_tools: str = ""
    agent_tool_secrets: str = field(default="", repr=False)
    agent_max_steps: int = 8
    agent_max_tokens: int = 60_000
    agent_max_seconds: float = 60.0
    agent_private_hosts: str = "refused"
    cache_ttl_seconds: int = 86_400
    cache_timeout_seconds: float = 0.05
    cache_index: str = "local"
    cache_judge: str = "on"
    judge_model: str = ""
    cache_judge_timeout_seconds: float = 2.0
    cache_candidate_similarity: float = 0.75
    cache_tenant_bytes: int = 64 * 1024 * 1024
    cache_tenant_entries: int = 20_000
    cache_answer_bytes: int = 256 * 1024
    cache_local_index_bytes: int = 128 * 1024 * 1024
    cache_warm_answers: int = 20
    token_price_per_million: float = 0.0
    run_grace_seconds: float = 30.0
    websocket_api_url: str = ""
    conversation_ttl_seconds: int = 86_400
    openai_citations: str = "none"
    retrieval_limit: int = 6
    retrieval_min_similarity: float | None = None
    retrieval_dense_weight: float = 0.6
    retrieval_context_tokens: int = 2_500
    rerank_url: str = ""
    rerank_api_key: str = field(default="", repr=False)
    rerank_model: str = ""
    max_document_bytes: int = 200 * 1024 * 1024
    parser: str = "unstructured"
    unstructured_api_url: str = "https://api.unstructuredapp.io/general/v0/general"
    unstructured_api_key: str = field(default="", repr=False)
    ocr_languages: str = "eng"
    chunk_context_model: str = ""
    parse_timeout_seconds: float = 240.0
    parse_cpu_seconds: int = 120
    parse_memory_bytes: int = 2 * 1024 * 1024 * 1024
    secret_arn: str = ""
    aws_region: str = ""
    aws_default_region: str = ""
    aws_access_key_id: str = ""
    aws_secret_access_key: str = field(default="", repr=False)
    aws_session_token: str = field(default="", repr=False)
    aws_endpoint_url: str = ""
    queue_url: str = ""
    dead_letters_arn: str = "none"
    ledger: str = ""
    ledger_url: str = field(default="", repr=False)
    ledger_content: str = "full"
    ledger_days: int = 90
    model_prices: str = ""
    otel_exporter_otlp_endpoint: str = ""
    otel_exporter_otlp_headers: str = field(default="", repr=False)
    trace_url: str = ""
    metrics: str = ""
    metrics_namespace: str = "Headrace"
    prometheus_multiproc_dir: str = ""
    tenant_metrics: str = "off"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read every setting; an unset or empty variable means the default. Raises ConfigurationError."""
        given: dict[str, Any] = {
            f.name: _read(f.name, _kind(f.default), environ) for f in fields(cls) if environ.get(f.name.upper())
        }
        if "chat_model" not in given and any(
            given.get(f"openai_{name}") not in {None, "auto"} for name in ("api_key", "base_url", "provider")
        ):
            given["chat_model"] = DEFAULT_OPENAI_MODEL
        if "redis_cache_name" in given:
            # A public endpoint with TLS takes longer than a server next door.
            given.setdefault("cache_timeout_seconds", PUBLIC_CACHE_TIMEOUT_SECONDS)
        settings = cls(**given)
        settings._check()
        return settings

    def _check(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigurationError(
                    f"{name.upper()} is {getattr(self, name)!r}; it can be {', '.join(choices)}. Correct it and start again."
                )
        self._check_auth()
        if self.chunk_context_model == EXTRACTIVE_MODEL:
            raise ConfigurationError(
                "CHUNK_CONTEXT_MODEL is 'extractive', which writes nothing of its own. Name a language model, or none."
            )
        if self.ledger == "sql" and not self.ledger_url:
            raise ConfigurationError(
                "LEDGER is 'sql', which needs LEDGER_URL (sqlite:///… or postgresql://…). Set it and start again."
            )
        if self.trace_url and not self.trace_url.startswith(("https://", "http://")):
            raise ConfigurationError(
                "TRACE_URL is no address. Give one like https://traces.example.com/trace/{trace_id}, and start again."
            )
        if self.ledger_days < 1:
            raise ConfigurationError("LEDGER_DAYS must be 1 or more. Correct it and start again.")
        if not 0 <= self.run_grace_seconds < float("inf"):
            raise ConfigurationError(
                f"RUN_GRACE_SECONDS is {self.run_grace_seconds:g}; it must be 0 or more. Correct it and start again."
            )
        if not 0 < self.retrieval_dense_weight <= 1:
            raise ConfigurationError(
                f"RETRIEVAL_DENSE_WEIGHT is {self.retrieval_dense_weight:g}; it must be above 0 and at most 1. "
                "Correct it and start again."
            )

    @property
    def authenticators(self) -> tuple[str, ...]:
        """The names in AUTH, in their order."""
        return tuple(name.strip() for name in self.auth.split(","))

    def metrics_kind(self, *, is_lambda: bool) -> str:
        """Where figures go: to CloudWatch on Lambda, and nowhere else, unless METRICS says otherwise."""
        return self.metrics or ("cloudwatch" if is_lambda else "off")

    @property
    def ledger_kind(self) -> str:
        """Which ledger is kept: a URL is reason enough for a database."""
        return self.ledger or ("sql" if self.ledger_url else "off")

    def _check_auth(self) -> None:
        strange = set(self.authenticators) - set(AUTHENTICATORS)
        if strange or (len(self.authenticators) > 1 and "none" in self.authenticators):
            raise ConfigurationError(
                f"AUTH is {self.auth!r}; it can be none, or one or several of {', '.join(AUTHENTICATORS[1:])}, separated by "
                "commas. Correct it and start again."
            )
        if "jwt" in self.authenticators and not (self.jwt_issuer and self.jwt_audience and self.jwt_keys):
            raise ConfigurationError(
                "AUTH names jwt, which needs JWT_ISSUER, JWT_AUDIENCE and JWT_KEYS (a JWKS, or the URL of one). "
                "Set them and start again."
            )
        for name in ("requests_per_minute", "streams_per_principal", "most_open_requests"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name.upper()} must be 1 or more. Correct it and start again.")


def _kind(default: object) -> type:
    """The type to read a variable as; what has no default is a number."""
    return float if default is None else type(default)


def _read(name: str, kind: type, environ: Mapping[str, str]) -> Any:
    text = environ[name.upper()]
    try:
        return kind(text)
    except ValueError:
        raise ConfigurationError(
            f"{name.upper()} is {text!r}, which is not a number ({kind.__name__}). Correct it and start again."
        ) from None
