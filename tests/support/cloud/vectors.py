"""Amazon S3 Vectors for MiniStack: `AWS::S3Vectors::VectorBucket` in its CloudFormation, and the service behind its gateway."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tests.support.cloud.identities import credentials_of, may
from tests.support.s3vectors_server import ApiError, S3Vectors, s3vectors_app

KIND = "AWS::S3Vectors::VectorBucket"


def add_vector_buckets() -> Any:
    """Teach MiniStack's CloudFormation the type; the ASGI middleware that answers what is signed for the service."""
    vectors = S3Vectors()

    def create(logical_id: str, properties: dict[str, Any], stack: str) -> tuple[str, dict[str, Any]]:
        name = properties.get("VectorBucketName") or f"{stack}-{logical_id}-{len(vectors.buckets)}".lower()
        arn = vectors.answer("CreateVectorBucket", {"vectorBucketName": name})["vectorBucketArn"]
        return arn, {"VectorBucketArn": arn}

    def delete(physical_id: str, _properties: dict[str, Any]) -> None:
        try:
            vectors.answer("DeleteVectorBucket", {"vectorBucketName": physical_id.partition(":bucket/")[2]})
        except ApiError as error:
            raise ValueError(str(error)) from error

    handlers = import_module("ministack.services.cloudformation.provisioners")
    vars(handlers)["_RESOURCE_HANDLERS"][KIND] = {"create": create, "delete": delete}
    service = s3vectors_app(vectors, credentials_of, lambda key_id, action, arn: may(key_id, action, [arn]))

    def middleware(app: Any) -> Any:
        async def chosen(scope: Any, receive: Any, send: Any) -> None:
            headers = dict(scope.get("headers", ()))
            is_ours = b"/s3vectors/aws4_request" in headers.get(b"authorization", b"")
            await (service if is_ours else app)(scope, receive, send)

        return chosen

    return middleware
