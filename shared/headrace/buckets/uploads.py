"""Signed forms with which a browser or curl puts one file into S3 by itself. boto3 is loaded at the first one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headrace.errors import BucketUnavailableError, InvalidInputError
from headrace.types import UploadForm, create_only_mark

if TYPE_CHECKING:
    from collections.abc import Sequence

FORM_SECONDS = 900


class S3Uploads:
    """An Uploads for one bucket. Signing asks nobody; what the form allows, S3 holds it to.

    `endpoint_url` is that of an emulator; S3 itself is named with its region: at the name without one, a new bucket
    is not to be found for hours.
    """

    def __init__(self, bucket: str, *, endpoint_url: str = "") -> None:
        self._bucket = bucket
        self._style = "path" if endpoint_url else "virtual"
        self._client: Any = None

    async def form(
        self, key: str, *, metadata: Mapping[str, str], content_type: str, max_bytes: int, create_only: bool
    ) -> UploadForm:
        expires_at = time.time() + FORM_SECONDS
        fields = {f"x-amz-meta-{name}": value for name, value in metadata.items()}
        # A form can't ask S3 to refuse a name that is taken: ingest does it, by this mark.
        fields |= {"x-amz-meta-create-only": create_only_mark(key, expires_at)} if create_only else {}
        fields |= {"Content-Type": content_type} if content_type else {}
        conditions: Sequence[Any] = [
            *({name: value} for name, value in fields.items()),
            ["content-length-range", 1, max_bytes],
        ]
        return await asyncio.to_thread(self._sign, key, fields, conditions, expires_at)

    def _sign(self, key: str, fields: dict[str, str], conditions: Sequence[Any], expires_at: float) -> UploadForm:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        if "${filename}" in key:
            raise InvalidInputError("S3 would put the file under another name: leave out ${filename}.", param="name")
        try:
            if self._client is None:
                self._client = boto3.client(
                    "s3", config=Config(signature_version="s3v4", s3={"addressing_style": self._style})
                )
            signed = self._client.generate_presigned_post(
                self._bucket, key, Fields=fields, Conditions=conditions, ExpiresIn=FORM_SECONDS
            )
        except (BotoCoreError, AttributeError) as error:
            # Without credentials botocore looks for the key of None.
            raise BucketUnavailableError(
                f"An upload can't be signed ({type(error).__name__}). Check the function's role and region."
            ) from error
        return UploadForm(signed["url"], signed["fields"], expires_at)
