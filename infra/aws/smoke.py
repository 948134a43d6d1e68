"""Tries a deployment out: a file goes up, an answer from it streams, the file goes, and the answer with it."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import boto3
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

READY_SECONDS = 180.0
ANSWER_SECONDS = 120.0
LOOK_SECONDS = 1.0
HTTP = urllib3.PoolManager(timeout=urllib3.Timeout(total=ANSWER_SECONDS), retries=False)

Report = Callable[[str], None]


class SmokeError(Exception):
    """A step did not do what it should; the message says which, and where to look.

    `status` is that of a refusal, and `retry_after_seconds` when it says that one may come again.
    """

    def __init__(self, message: str, *, status: int = 0, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Door:
    """The deployment's URL, and how one is let in: by a key, or else by the AWS credentials of the environment.

    `host` is the name that the URL answers to, where it is reached by another address.
    """

    url: str
    key: str = ""
    host: str = ""

    def call(
        self, method: str, path: str, body: Any = None, *, accept: str = "application/json", streams: bool = False
    ) -> urllib3.BaseHTTPResponse:
        """The response: read, or with `streams` as it comes, and then the caller's to close. Raises SmokeError for any but a 2xx."""
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"Accept": accept, **({"Content-Type": "application/json"} if content else {})}
        response = HTTP.request(
            method, self.url.rstrip("/") + path, body=content, preload_content=not streams,
            headers=self._signed(method, path, content, headers),
        )  # fmt: skip
        if response.status >= 300:
            text = response.data[:300].decode(errors="replace")
            raise SmokeError(
                f"{method} {path} answered {response.status}: {text}{_hint(response.status)}",
                status=response.status,
                retry_after_seconds=float(response.headers.get("Retry-After") or 0),
            )
        return response

    def document(self, name: str) -> dict[str, Any] | None:
        """The document's record; None where there is none. Raises SmokeError."""
        try:
            record: dict[str, Any] = self.call("GET", f"/documents/{name}").json()
        except SmokeError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return record

    def _signed(self, method: str, path: str, content: bytes, headers: Mapping[str, str]) -> dict[str, str]:
        named = {**headers, "Host": self.host or urlsplit(self.url).netloc}
        if self.key:
            return {**named, "Authorization": f"Bearer {self.key}"}
        session = boto3.session.Session()
        request = AWSRequest(method, f"https://{named['Host']}{path}", headers=named, data=content)
        SigV4Auth(session.get_credentials(), "lambda", session.region_name or "us-east-1").add_auth(request)
        return dict(request.headers.items())


def _hint(status: int) -> str:
    if status in {401, 403}:
        return " Set HEADRACE_KEY (make key ACTION=create), or sign in to AWS, by what the parameter Auth asks for."
    if status >= 500:
        return " Look at chat's log group: its last line says what is missing (docs/deploy.md, troubleshooting)."
    return ""


def smoke(door: Door, *, report: Report) -> None:
    """Do it. Raises SmokeError at the first thing that is not right."""
    mark = uuid.uuid4().hex[:8]
    name = f"headrace-smoke-{mark}.txt"
    fact = f"The calibration code of turbine {mark} is {int(mark, 16) % 90_000 + 10_000}."
    began = time.monotonic()

    def told(text: str) -> None:
        report(f"{time.monotonic() - began:6.1f} s  {text}")

    door.call("GET", "/healthz")
    told("it answers")
    key = _upload(door, name, fact)
    try:
        told(f"{name} is uploaded")
        _await_state(door, name)
        told("it is ready")
        _ask(door, f"What is the calibration code of turbine {mark}?", name, told)
    finally:
        _remove(key)
    told("it is removed")
    _await_gone(door, name)
    told("and nothing of it is left: all is well")


def _upload(door: Door, name: str, text: str) -> str:
    form = door.call("POST", "/documents", {"name": name, "content_type": "text/plain"}).json()
    sent = HTTP.request("POST", form["url"], fields={**form["fields"], "file": (name, text.encode())})
    if sent.status >= 300:
        raise SmokeError(f"S3 refused the file ({sent.status}): {sent.data[:300].decode(errors='replace')}")
    return str(form["fields"]["key"])


def _await_state(door: Door, name: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    record: dict[str, Any] = {}
    while time.monotonic() < deadline:
        record = door.document(name) or {}
        if record.get("state") == "ready":
            return
        if record.get("state") == "failed":
            raise SmokeError(f"{name} failed: {record.get('reason')}")
        time.sleep(LOOK_SECONDS)
    raise SmokeError(
        f"{name} was not ready after {READY_SECONDS:g} seconds ({record.get('state', 'nobody has seen it')}). Look at ingest's log group."
    )


def _ask(door: Door, question: str, name: str, told: Report) -> None:
    times, passages, done = [], "", {}
    with door.call("POST", "/chat", {"question": question}, accept="text/event-stream", streams=True) as response:
        for event, data in _events(response):
            if event == "token":
                times.append(time.monotonic())
            elif event == "passages":
                passages = json.dumps(data)
            elif event == "error":
                raise SmokeError(f"The answer broke off: {data}")
            elif event == "done":
                done = data
    if name not in passages:
        raise SmokeError(f"The answer does not rest on {name}: {passages[:300]}")
    if not times or not done:
        raise SmokeError("The answer has no text, or no end.")
    told(f"an answer streamed in {len(times)} pieces over {times[-1] - times[0]:.1f} s ({done.get('mode')})")


def _events(response: urllib3.BaseHTTPResponse) -> Iterator[tuple[str, Any]]:
    event = ""
    for raw in response:
        line = raw.decode().rstrip("\n")
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield event, json.loads(line.removeprefix("data: "))


def _remove(key: str) -> None:
    """By S3 itself, as an owner would: the application has no right to remove files."""
    bucket = os.environ.get("BUCKET", "")
    if not bucket:
        raise SmokeError(f"Which bucket? Set BUCKET, or give STAGE instead of URL. Remove {key} by hand.")
    boto3.client("s3").delete_object(Bucket=bucket, Key=key)


def _await_gone(door: Door, name: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if door.document(name) is None:
            return
        time.sleep(LOOK_SECONDS)
    raise SmokeError(
        f"{name} is still there {READY_SECONDS:g} seconds after it was removed. Look at ingest's log group."
    )
