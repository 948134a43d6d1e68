"""What the clients ask: the chat application over the tests' real servers."""

from __future__ import annotations

from tests.functions.conftest import answer_deps, chat_app, library

__all__ = ["answer_deps", "chat_app", "library"]
