"""Signed forms with which a browser or curl puts one file into S3 by itself. boto3 is loaded at the first one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headrace.errors import BucketUnavailableError, InvalidInputError
from headrace.types import UploadForm

if TYPE_CHECKING:
    from collections.abc import Sequence

FORM_SECONDS = 900


class S3Uploads:
    """An Uploads for one bucket. Signing asks nobody; what the form allows, S3 holds it to."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._client: Any = None

    async def form(self, key: str, *, metadata: Mapping[str, str], content_type: str, max_bytes: int) -> UploadForm:
        fields = {f"x-amz-meta-{name}": value for name, value in metadata.items()}
        fields |= {"Content-Type": content_type} if content_type else {}
        conditions: Sequence[Any] = [
            *({name: value} for name, value in fields.items()),
            ["content-length-range", 1, max_bytes],
        ]
        return await asyncio.to_thread(self._sign, key, fields, conditions)

    def _sign(self, key: str, fields: dict[str, str], conditions: Sequence[Any]) -> UploadForm:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        if "${filename}" in key:
            raise InvalidInputError("S3 would put the file under another name: leave out ${filename}.", param="name")
        try:
            if self._client is None:
                self._client = boto3.client("s3", config=Config(signature_version="s3v4"))
            expires_at = time.time() + FORM_SECONDS
            signed = self._client.generate_presigned_post(
                self._bucket, key, Fields=fields, Conditions=conditions, ExpiresIn=FORM_SECONDS
            )
        except BotoCoreError as error:
            raise BucketUnavailableError(
                f"An upload can't be signed ({type(error).__name__}). Check the function's role and region."
            ) from error
        return UploadForm(signed["url"], signed["fields"], expires_at)
