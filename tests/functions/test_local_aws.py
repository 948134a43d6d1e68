"""The local S3 and SQS take what this machine signed, and nothing from other sites' pages."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.local.bucket import CREDENTIALS
from infra.local.processes import free_port
from tests.support.processes import running

KEY = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port, folder = free_port(), tmp_path_factory.mktemp("aws")
    environment = {
        **os.environ, **CREDENTIALS, "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "SERVICES": "s3,sqs",
        "MINISTACK_HOST": "127.0.0.1", "S3_DATA_DIR": str(folder),
    }  # fmt: skip
    with running([sys.executable, "-m", "infra.local.aws"], port, folder / "aws.log", environment):
        client(f"http://127.0.0.1:{port}").create_bucket(Bucket="bucket")
        yield f"http://127.0.0.1:{port}"


def client(url: str, service: str = "s3", **key: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        config=Config(signature_version="v4" if service == "sqs" else "s3v4", retries={"total_max_attempts": 1}),
        **{**KEY, **key},
    )


def sent(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str]]:
    request = urllib.request.Request(url, body, {n.replace("_", "-"): v for n, v in headers.items()}, method=method)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310
            return response.status, {name.lower(): value for name, value in response.headers.items()}
    except HTTPError as error:
        return error.code, {name.lower(): value for name, value in error.headers.items()}


def test_what_the_vendors_client_signs_is_served(url: str) -> None:
    s3 = client(url)
    name = "a b/ü+(1)~%20.txt"
    s3.put_object(Bucket="bucket", Key=name, Body=b"one", Metadata={"tag": "x"})
    assert s3.get_object(Bucket="bucket", Key=name)["Body"].read() == b"one"
    assert [o["Key"] for o in s3.list_objects_v2(Bucket="bucket", Prefix="a b/")["Contents"]] == [name]
    parts = TransferConfig(multipart_threshold=5 * 1024**2, multipart_chunksize=5 * 1024**2)
    s3.upload_fileobj(BytesIO(bytes(11 * 1024**2)), "bucket", "large", Config=parts)
    assert s3.head_object(Bucket="bucket", Key="large")["ContentLength"] == 11 * 1024**2
    sqs = client(url, "sqs")
    queue = sqs.create_queue(QueueName="q")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="hello ü")
    assert sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"] == "hello ü"
    assert sent(s3.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": name}))[0] == 200


def posted(url: str, form: dict[str, Any], **headers: str) -> tuple[int, dict[str, str]]:
    edge = "edge"
    fields = "".join(
        f'--{edge}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in form["fields"].items()
    )
    file = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nhello\r\n--{edge}--\r\n'
    headers = {"Content-Type": f"multipart/form-data; boundary={edge}", **headers}
    return sent(form["url"], "POST", (fields + file).encode(), **headers)


def test_a_signed_form_is_served_to_a_page_of_this_machine(url: str) -> None:
    form = client(url).generate_presigned_post("bucket", "formed.txt", ExpiresIn=60)
    status, headers = posted(url, form, Origin="http://127.0.0.1:8000")
    assert status in {200, 204}
    assert headers["access-control-allow-origin"] == "http://127.0.0.1:8000"
    form["fields"]["policy"] = form["fields"]["policy"][:-8] + "AAAAAAAA"
    assert posted(url, form)[0] == 403
    assert posted(url, client(url).generate_presigned_post("bucket", "late.txt", ExpiresIn=-5))[0] == 403


@pytest.mark.parametrize("key", [{"aws_secret_access_key": "guessed"}, {"aws_access_key_id": "another"}])
def test_another_key_is_refused(url: str, key: dict[str, str]) -> None:
    for service, call in (("s3", "list_buckets"), ("sqs", "list_queues")):
        with pytest.raises(ClientError) as refused:
            getattr(client(url, service, **key), call)()
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert sent(client(url, **key).generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "large"}))[0] == 403


def test_what_was_signed_can_not_be_sent_as_something_else(url: str) -> None:
    signed = client(url).generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "large"})
    assert sent(signed)[0] == 200
    assert sent(signed.replace("/large", "/other"))[0] == 403
    assert sent(signed, "DELETE")[0] == 403
    assert sent(f"{signed}&versionId=1")[0] == 403


def test_an_unsigned_request_and_another_sites_page_get_nothing(url: str, tmp_path: Path) -> None:
    signed = client(url).generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "large"})
    unsigned = [
        ("GET", f"{url}/bucket", None), ("PUT", f"{url}/bucket/x", b"x"), ("DELETE", f"{url}/bucket/large", None),
        ("POST", f"{url}/", json.dumps({"QueueName": "q"}).encode()), ("GET", f"{url}/_ministack/state", None),
        ("POST", f"{url}/_ministack/reset", b""),
    ]  # fmt: skip
    for method, target, body in unsigned:
        status, headers = sent(target, method, body)
        assert status == 403, target
        assert "access-control-allow-origin" not in headers
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
        assert sent(signed, "GET", None, **headers)[0] == 403, headers
    assert sent(f"{url}/bucket", "OPTIONS", None, Origin="https://evil.example")[0] == 403
    assert sent(f"{url}/_ministack/health")[0] == 200
