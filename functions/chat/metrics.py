"""What the cache had for each answer: in a header for who asks, and in CloudWatch's embedded metric format for the owner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headrace.types import AnswerEvent, CacheVerdict, StatusEvent, UsageEvent

NAMESPACE = "Headrace"
METRICS = {
    CacheVerdict.HIT: "CacheHits", CacheVerdict.SHARED: "CacheShared", CacheVerdict.MISS: "CacheMisses",
    CacheVerdict.BYPASS: "CacheBypasses", CacheVerdict.UNAVAILABLE: "CacheUnavailable",
}  # fmt: skip


@dataclass(slots=True)
class AnswerMetrics:
    """Figures of one answer, collected from its events: the cache's verdict, and tokens of model and judge."""

    verdict: CacheVerdict | None = None
    tokens: int = 0
    judge_tokens: int = 0

    def observe(self, event: AnswerEvent) -> None:
        """Take note of the answer's next event."""
        if isinstance(event, StatusEvent):
            self.verdict = self.verdict or event.cache
            self.judge_tokens += event.judge_tokens
        elif isinstance(event, UsageEvent):
            self.tokens = event.usage.total_tokens

    @property
    def tokens_saved(self) -> int:
        """The tokens that this answer did not cost, because another asker's answer was given."""
        return self.tokens if self.verdict in {CacheVerdict.HIT, CacheVerdict.SHARED} else 0


Report = Callable[[AnswerMetrics], None]


def verdict_header(first: AnswerEvent) -> dict[str, str]:
    """`X-Cache` from an answer's first event, and the age in seconds of an answer from the cache."""
    if not isinstance(first, StatusEvent) or first.cache is None:
        return {"X-Cache": CacheVerdict.MISS}
    age = {} if first.age_seconds is None else {"Age": str(int(first.age_seconds))}
    return {"X-Cache": first.cache, **age}


def report_to_cloudwatch(answer: AnswerMetrics) -> None:
    """Print one line that CloudWatch makes metrics of."""
    # A cold start has no need of it.
    from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

    if answer.verdict is None:
        return
    metrics = EphemeralMetrics(namespace=NAMESPACE, service="chat")
    metrics.add_metric(name=METRICS[answer.verdict], unit=MetricUnit.Count, value=1)
    metrics.add_metric(name="TokensSaved", unit=MetricUnit.Count, value=answer.tokens_saved)
    metrics.add_metric(name="JudgeTokens", unit=MetricUnit.Count, value=answer.judge_tokens)
    metrics.flush_metrics()
