"""A language model for benches: its first word after 300 ms, then 50 words, 20 ms apart. Run by uvicorn."""

from __future__ import annotations

from tests.support.openai_server import Script, openai_app

FIRST_TOKEN_SECONDS = 0.3

app = openai_app(
    Script(
        reply=lambda _: " ".join(f"word{number}" for number in range(48)) + " [1].",
        first_token_seconds=FIRST_TOKEN_SECONDS,
        token_gap_seconds=0.02,
    )
)
