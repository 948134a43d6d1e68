"""What the cache had for each answer: in a header for who asks, and in CloudWatch's embedded metric format for the owner."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from headrace.types import AnswerEvent, StatusEvent, UsageEvent

NAMESPACE = "Headrace"
# The status event's words, and what they are called as metrics.
METRICS = {
    "hit": "CacheHits", "shared": "CacheShared", "miss": "CacheMisses", "bypass": "CacheBypasses",
    "unavailable": "CacheUnavailable",
}  # fmt: skip

Report = Callable[[str, int], None]


def verdict_of(event: AnswerEvent) -> str:
    """What the cache had, as an answer's first event says it: `hit`, `miss`, `shared`, `bypass` or `unavailable`."""
    return event.cache if isinstance(event, StatusEvent) else ""


def verdict_header(first: AnswerEvent) -> dict[str, str]:
    """`X-Cache`, and the age in seconds of an answer from the cache."""
    header = {"X-Cache": verdict_of(first) or "miss"}
    if isinstance(first, StatusEvent) and first.age_seconds is not None:
        header["Age"] = str(int(first.age_seconds))
    return header


async def reported(
    events: AsyncGenerator[AnswerEvent, None], report: Report | None
) -> AsyncGenerator[AnswerEvent, None]:
    """The events as they come; their verdict and the tokens that a hit saved are reported at the end."""
    verdict, tokens = "", 0
    async with aclosing(events):
        async for event in events:
            verdict = verdict or verdict_of(event)
            if isinstance(event, UsageEvent):
                tokens = event.usage.total_tokens
            yield event
    if report is not None and verdict:
        report(verdict, tokens if verdict in {"hit", "shared"} else 0)


def report_to_cloudwatch(verdict: str, tokens_saved: int) -> None:
    """Print one line that CloudWatch makes metrics of."""
    # A cold start has no need of it.
    from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

    metrics = EphemeralMetrics(namespace=NAMESPACE, service="chat")
    metrics.add_metric(name=METRICS[verdict], unit=MetricUnit.Count, value=1)
    metrics.add_metric(name="TokensSaved", unit=MetricUnit.Count, value=tokens_saved)
    metrics.flush_metrics()
