"""Wiring of documents: bucket, uploads, queue, parser."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING

from headrace.settings import Settings

if TYPE_CHECKING:
    from headrace.protocols import Bucket, Files, Parser, Queue


def open_bucket(settings: Settings) -> AbstractAsyncContextManager[Bucket]:
    """The bucket where documents live."""
    from headrace.buckets.s3 import open_s3_bucket

    return open_s3_bucket(settings.bucket)


def files_in(settings: Settings) -> Files:
    """The bucket's files, as others put and read them by themselves."""
    from headrace.buckets.files import S3Files

    return S3Files(settings.bucket, endpoint_url=settings.aws_endpoint_url)


def upload_origin(settings: Settings) -> str:
    """Where those forms lead, as a content security policy names it: the bucket with its region, and without."""
    if settings.aws_endpoint_url:
        return settings.aws_endpoint_url
    region = settings.aws_region or settings.aws_default_region
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    hosts = ("s3", f"s3.{region}") if region else ("s3",)
    return " ".join(f"https://{settings.bucket}.{host}.{domain}" for host in hosts)


def open_queue(settings: Settings) -> AbstractAsyncContextManager[Queue | None]:
    """The queue that wakes ingest, where there is one."""
    if not settings.queue_url:
        return nullcontext()
    from headrace.queues.sqs import open_sqs_queue

    return open_sqs_queue(settings.queue_url)


def open_parser(settings: Settings) -> AbstractAsyncContextManager[Parser]:
    """The parser: unstructured in a process of its own, or its hosted API."""
    if settings.parser == "unstructured-api":
        from headrace.parsers.unstructured_api import open_unstructured_api

        return open_unstructured_api(
            settings.unstructured_api_url,
            api_key=settings.unstructured_api_key,
            timeout_seconds=settings.parse_timeout_seconds,
        )
    from headrace.parsers.process import open_process_parser

    return open_process_parser(
        timeout_seconds=settings.parse_timeout_seconds,
        cpu_seconds=settings.parse_cpu_seconds,
        memory_bytes=settings.parse_memory_bytes,
        ocr_languages="" if settings.ocr_languages == "none" else settings.ocr_languages,
    )
