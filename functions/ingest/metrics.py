"""What became of each document, and how long it took: in CloudWatch's embedded metric format, or for Prometheus."""

from __future__ import annotations

import logging
from collections.abc import Callable

from headrace.types import DocumentState

Report = Callable[[DocumentState, float | None], None]

logger = logging.getLogger(__name__)


def tell(report: Report | None, state: DocumentState, seconds: float | None = None) -> None:
    """Report that an attempt made a document final, and in how many seconds, if it worked on it. A report that fails fails nothing else."""
    if report is None:
        return
    try:
        report(state, seconds)
    except Exception:
        logger.exception("a document is not counted")


def report_to_cloudwatch(state: DocumentState, seconds: float | None, *, namespace: str) -> None:
    """Print one line that CloudWatch makes metrics of."""
    from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

    metrics = EphemeralMetrics(namespace=namespace, service="ingest")
    if seconds is not None:
        metrics.add_metric(name="IngestTime", unit=MetricUnit.Seconds, value=seconds)
    metrics.add_metric(name="DocumentsFailed", unit=MetricUnit.Count, value=float(state is DocumentState.FAILED))
    metrics.flush_metrics()


def report_to_prometheus(state: DocumentState, seconds: float | None) -> None:
    """Count it where chat's `GET /metrics` finds it, if both share a folder."""
    from headrace.observability import prometheus

    prometheus.DOCUMENTS.labels(state).inc()
    if seconds is not None:
        prometheus.INGEST_SECONDS.observe(seconds)
