"""The application with its real parts, to be evaluated."""

from tests.functions.conftest import answer_deps, chat_app, library

__all__ = ["answer_deps", "chat_app", "library"]
