"""What FastAPI and pydantic load at a cold start, and no answer needs: left out, or put off until somebody does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module


@contextmanager
def lean_imports() -> Iterator[None]:
    """Import FastAPI and define routes within this: it takes a seventh less of a cold start's processor time.

    FastAPI looks whether a body's type is a model of pydantic's first version, and loads that version to find out; where it is
    not to be had, none is.
    """
    _describe_openapi_later()
    is_loaded = "pydantic.v1" in sys.modules
    if not is_loaded:
        # Python's own word for what is not to be imported.
        sys.modules["pydantic.v1"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if not is_loaded:
            del sys.modules["pydantic.v1"]


def _describe_openapi_later() -> None:
    """Have the models of OpenAPI's document, which FastAPI imports, built when somebody asks for the document."""
    import pydantic

    pydantic.BaseModel.model_config["defer_build"] = True
    try:
        import_module("fastapi.openapi.models")
    finally:
        del pydantic.BaseModel.model_config["defer_build"]
