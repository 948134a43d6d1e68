"""A small server that speaks unstructured's partition API: `POST /general/v0/general`, a multipart form in, elements out.

Its elements are made by the library itself, which is what the vendor's server runs. Held against the vendor's own client
in tests/contract/test_unstructured_api.py.
Reference: https://docs.unstructured.io/api-reference/legacy-api/partition/overview
"""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from headrace.parsers import unstructured as _offline  # noqa: F401 - keeps the library off the network


@dataclass
class Desk:
    """What the server was asked, and how it is to fail, one status a call."""

    api_key: str = "key"
    fail: list[int] = field(default_factory=list)
    forms: list[dict[str, Any]] = field(default_factory=list)


def unstructured_app(desk: Desk) -> Starlette:
    """The server's ASGI application."""

    async def general(request: Request) -> Response:
        if request.headers.get("unstructured-api-key") != desk.api_key:
            return JSONResponse({"detail": "API key is missing or invalid."}, status_code=401)
        if desk.fail:
            return JSONResponse({"detail": "told to fail"}, status_code=desk.fail.pop(0))
        async with request.form() as form:
            file = form["files"]
            assert isinstance(file, UploadFile)
            desk.forms.append({name: value for name, value in form.items() if isinstance(value, str)})
            content, name = await file.read(), file.filename or ""
        try:
            return JSONResponse(await asyncio.to_thread(_elements, content, name))
        except ValueError as error:
            return JSONResponse({"detail": str(error)}, status_code=422)

    return Starlette(routes=[Route("/general/v0/general", general, methods=["POST"])])


def _elements(content: bytes, name: str) -> list[dict[str, Any]]:
    from unstructured.partition.auto import partition

    if name.endswith(".bin"):
        raise ValueError("File type application/octet-stream is not supported.")
    elements = partition(file=io.BytesIO(content), metadata_filename=name, languages=["eng"], strategy="fast")
    return [element.to_dict() for element in elements]
