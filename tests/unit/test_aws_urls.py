"""Services are asked where AWS's own client asks them."""

from __future__ import annotations

import boto3
import pytest

from headrace.clients.aws import dual_stack_url


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "ap-southeast-2", "cn-north-1"])
def test_s3_vectors_is_asked_where_boto3_asks_it(region: str) -> None:
    client = boto3.client("s3vectors", region_name=region, aws_access_key_id="x", aws_secret_access_key="y")
    asked: list[str] = []

    def note(request: object, **_: object) -> None:
        asked.append(str(getattr(request, "url", "")))
        raise InterruptedError

    client.meta.events.register("before-send", note)
    with pytest.raises(InterruptedError):
        client.get_vector_bucket(vectorBucketName="some")
    assert asked[0] == f"{dual_stack_url('s3vectors', region)}/GetVectorBucket"
