"""unstructured's hosted API, or its container in your own account, as the parser: for OCR and layouts beyond ours.

Reference: https://docs.unstructured.io/api-reference/legacy-api/partition/overview
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from headrace.clients.http import Api, JsonApi, open_json_api
from headrace.errors import DocumentError, ParserUnavailableError
from headrace.parsers.elements import blocks_of
from headrace.types import ParsedFile

API = Api("unstructured's API", "UNSTRUCTURED_API_KEY", ParserUnavailableError, refusal=DocumentError)
FIELDS = {"strategy": "auto", "output_format": "application/json"}
# unstructured names languages by ISO 639-2's three letters; these differ from ISO 639-1 by more than the last one.
TWO_LETTERS = {"eng": "en", "deu": "de", "fra": "fr", "spa": "es", "ita": "it", "por": "pt", "nld": "nl", "zho": "zh"}


class UnstructuredApi:
    """A Parser that sends the file away to be read."""

    def __init__(self, api: JsonApi, *, timeout_seconds: float) -> None:
        self._api = api
        self._timeout_seconds = timeout_seconds

    async def check(self) -> None:
        """Ready at any time: the API has no question that costs nothing."""

    async def parse(self, path: Path, *, name: str, content_type: str) -> ParsedFile:
        if not await asyncio.to_thread(os.path.getsize, path):
            raise DocumentError("The file is empty. Upload it again with its content.")
        fields = {**FIELDS, **({"content_type": content_type} if content_type.startswith("text/") else {})}
        reply = await self._api.upload(path, name=name, fields=fields, deadline_seconds=self._timeout_seconds)
        elements = reply.value
        if not isinstance(elements, list):
            raise ParserUnavailableError("unstructured's API answered with something that is no list of elements.")
        blocks = await asyncio.to_thread(lambda: list(blocks_of(elements)))
        if not blocks:
            raise DocumentError("No text was found in the file.")
        languages = (elements[0].get("metadata") or {}).get("languages") or [""]
        return ParsedFile(blocks, TWO_LETTERS.get(languages[0], ""))


@asynccontextmanager
async def open_unstructured_api(url: str, *, api_key: str, timeout_seconds: float) -> AsyncIterator[UnstructuredApi]:
    """The parser; makes no connection before its first file."""
    async with open_json_api(url, API, headers={"unstructured-api-key": api_key}) as api:
        yield UnstructuredApi(api, timeout_seconds=timeout_seconds)
