"""Settings come from the environment, with sense where nothing is said; and the docs list each."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from headrace.errors import ConfigurationError
from headrace.settings import DEFAULT_OPENAI_MODEL, EXTRACTIVE_MODEL, LOCAL_EMBEDDING_MODEL, Settings

DOCS = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


def test_an_empty_environment_needs_no_key() -> None:
    settings = Settings.from_env({})
    assert (settings.chat_model, settings.embedding_model) == (EXTRACTIVE_MODEL, LOCAL_EMBEDDING_MODEL)


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "OPENAI_BASE_URL"])
def test_a_key_or_a_url_alone_turns_the_language_model_on(variable: str) -> None:
    settings = Settings.from_env({variable: "x"})
    assert (settings.chat_model, settings.embedding_model) == (DEFAULT_OPENAI_MODEL, LOCAL_EMBEDDING_MODEL)
    assert Settings.from_env({variable: "x", "CHAT_MODEL": "extractive"}).chat_model == "extractive"


def test_values_are_read_as_what_they_are_and_empty_ones_are_defaults() -> None:
    settings = Settings.from_env(
        {"EMBEDDING_BATCH": "7", "RETRIEVAL_MIN_SIMILARITY": "0.4", "REDIS_URL": "", "NOISE": "1"}
    )
    assert (settings.embedding_batch, settings.retrieval_min_similarity) == (7, 0.4)
    assert settings.redis_url == Settings().redis_url


def test_a_wrong_value_is_named() -> None:
    with pytest.raises(ConfigurationError, match="EMBEDDING_BATCH is 'many'"):
        Settings.from_env({"EMBEDDING_BATCH": "many"})


def test_the_docs_list_every_setting_and_no_other() -> None:
    first_columns = [line.split("|")[1] for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    headings = {name for column in first_columns for name in column.split("`")[1::2]}
    assert headings >= {field.name.upper() for field in fields(Settings)}
