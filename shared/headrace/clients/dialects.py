"""The dialects of OpenAI's Chat Completions: what servers that speak it understand differently, a row each.

Whatever a server refuses by name beyond that is learned from its refusal (headrace.models.openai).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from headrace.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a kind of server is spoken to.

    `limit_field` is its name for the token limit. `signs` is whether requests are signed with the AWS role instead of
    carrying a key. `lists_models` is whether `GET /models` says anything about the model that is configured.

    `schemas` is which JSON schemas it is known to enforce: `all`, those that are `strict`, or none. `grammar_field` is what it
    takes a grammar in.
    """

    limit_field: str = "max_tokens"
    signs: bool = False
    lists_models: bool = True
    schemas: str = ""
    grammar_field: str = ""


DIALECTS = {
    "openai": Dialect(limit_field="max_completion_tokens", schemas="strict"),
    # Deployments have names of their own, which the list of models does not have.
    "azure": Dialect(limit_field="max_completion_tokens", lists_models=False, schemas="strict"),
    "bedrock": Dialect(limit_field="max_completion_tokens", signs=True, lists_models=False),
    # Whether it enforces a grammar hangs on its backend, so that counts as checked here.
    "vllm": Dialect(schemas="all", grammar_field="structured_outputs"),
    "sglang": Dialect(schemas="all"),
    # Serves one model, whatever it is called.
    "llama.cpp": Dialect(lists_models=False, schemas="all"),
    "ollama": Dialect(schemas="all"),
    # A proxy may let names through that it does not list.
    "litellm": Dialect(lists_models=False),
    # Anything else that speaks the protocol.
    "compatible": Dialect(lists_models=False),
}
AUTO = "auto"
CLOUD_HOSTS = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure",
    "services.ai.azure.com": "azure",
    "cognitiveservices.azure.com": "azure",
}


def dialect_of(provider: str, base_url: str) -> Dialect:
    """The provider's dialect; of `auto`, what the URL's host tells. Raises ConfigurationError for a name that is none."""
    if provider == AUTO:
        host = urlsplit(base_url).hostname or "api.openai.com"
        provider = next((name for end, name in CLOUD_HOSTS.items() if f".{host}".endswith(f".{end}")), "compatible")
    if provider not in DIALECTS:
        raise ConfigurationError(
            f"OPENAI_PROVIDER is {provider!r}; it can be {AUTO}, {', '.join(DIALECTS)}. Correct it and start again."
        )
    return DIALECTS[provider]
