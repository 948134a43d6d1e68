"""Files in S3 that others put there or read by themselves, with a signed form or link. boto3 is loaded at the first one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from headrace.errors import BucketUnavailableError, InvalidInputError
from headrace.types import DocumentKey, UploadForm, create_only_mark

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

FORM_SECONDS = 900
LINK_SECONDS = 300
LIMITS: Mapping[str, Any] = {"connect_timeout": 5, "read_timeout": 10}
TEXT = "text/plain; charset=utf-8"
# What a browser shows without running anything of it, by the end of its name; the rest it saves.
SHOWN = {
    "pdf": "application/pdf", "txt": TEXT, "md": TEXT, "csv": TEXT, "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg",
}  # fmt: skip


class S3Files:
    """A Files for one bucket. Signing asks nobody; what a form or a link allows, S3 holds it to.

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
        if "${filename}" in key:
            raise InvalidInputError("S3 would put the file under another name: leave out ${filename}.", param="name")
        expires_at = time.time() + FORM_SECONDS
        fields = {f"x-amz-meta-{name}": value for name, value in metadata.items()}
        # A form can't ask S3 to refuse a name that is taken: ingest does it, by this mark.
        fields |= {"x-amz-meta-create-only": create_only_mark(key, expires_at)} if create_only else {}
        fields |= {"Content-Type": content_type} if content_type else {}
        conditions: Sequence[Any] = [
            *({name: value} for name, value in fields.items()),
            ["content-length-range", 1, max_bytes],
        ]
        signed = await self._do(
            lambda client: client.generate_presigned_post(
                self._bucket, key, Fields=fields, Conditions=conditions, ExpiresIn=FORM_SECONDS
            )
        )
        return UploadForm(signed["url"], signed["fields"], expires_at)

    async def link(self, key: str, version_id: str) -> tuple[str, float]:
        expires_at = time.time() + LINK_SECONDS
        name = DocumentKey(key).name.rpartition("/")[2]
        # The object's own type is what whoever uploaded it said: a page with scripts could call itself a text.
        kind = SHOWN.get(name.rpartition(".")[2].lower(), "")
        asked = {
            "Bucket": self._bucket,
            "Key": key,
            "VersionId": version_id,
            "ResponseContentType": kind or "application/octet-stream",
            "ResponseContentDisposition": f"{'inline' if kind else 'attachment'}; filename*=UTF-8''{quote(name, safe='')}",
        }
        url = await self._do(
            lambda client: client.generate_presigned_url("get_object", Params=asked, ExpiresIn=LINK_SECONDS)
        )
        return str(url), expires_at

    async def remove(self, keys: Sequence[str]) -> None:
        objects = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        answer = await self._do(lambda client: client.delete_objects(Bucket=self._bucket, Delete=objects))
        if faults := answer.get("Errors"):
            raise BucketUnavailableError(
                f"The bucket has not deleted all of it ({faults[0].get('Code')}). Try again; if it stays, check the function's permissions."
            )

    async def _do(self, call: Callable[[Any], T]) -> T:
        """The call's result, from a thread. Raises BucketUnavailableError."""
        return await asyncio.to_thread(self._call, call)

    def _call(self, call: Callable[[Any], T]) -> T:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            if self._client is None:
                self._client = boto3.client(
                    "s3", config=Config(**LIMITS, signature_version="s3v4", s3={"addressing_style": self._style})
                )
            return call(self._client)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            raise BucketUnavailableError(
                f"The bucket refused a request ({code}). Check its name and the function's permissions."
            ) from error
        except (BotoCoreError, AttributeError) as error:
            # Without credentials botocore looks for the key of None.
            raise BucketUnavailableError(
                f"The bucket can't be used ({type(error).__name__}). Check the function's role and region."
            ) from error
