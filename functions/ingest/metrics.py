"""What became of each document, and how long it took: in CloudWatch's embedded metric format, or for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from headrace.types import DocumentState

Report = Callable[[DocumentState, float], None]


def report_to_cloudwatch(state: DocumentState, seconds: float, *, namespace: str) -> None:
    """Print one line that CloudWatch makes metrics of."""
    from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

    metrics = EphemeralMetrics(namespace=namespace, service="ingest")
    metrics.add_metric(name="IngestTime", unit=MetricUnit.Seconds, value=seconds)
    metrics.add_metric(name="DocumentsFailed", unit=MetricUnit.Count, value=float(state is DocumentState.FAILED))
    metrics.flush_metrics()


def report_to_prometheus(state: DocumentState, seconds: float) -> None:
    """Count it where chat's `GET /metrics` finds it, if both share a folder."""
    from headrace.observability import prometheus

    prometheus.INGEST_SECONDS.labels(state).observe(seconds)
