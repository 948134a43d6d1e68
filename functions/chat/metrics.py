"""What the cache had for each answer: in a header for who asks, and in CloudWatch's embedded metric format for the owner."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from headrace.types import (
    AnswerEvent,
    CacheVerdict,
    DoneEvent,
    FinishReason,
    PassagesEvent,
    StatusEvent,
    TokenEvent,
    UsageEvent,
)

# A rule of thumb, for what a model has not counted.
CHARACTERS_PER_TOKEN = 4
METRICS = {
    CacheVerdict.HIT: "CacheHits", CacheVerdict.SHARED: "CacheShared", CacheVerdict.MISS: "CacheMisses",
    CacheVerdict.BYPASS: "CacheBypasses", CacheVerdict.UNAVAILABLE: "CacheUnavailable",
}  # fmt: skip
# Why a request was not let in, by the error's code.
REFUSALS = {
    "rate_limit_exceeded": "RequestsLimited", "insufficient_quota": "RequestsOverQuota", "overloaded": "RequestsShed",
}  # fmt: skip


@dataclass(slots=True)
class AnswerMetrics:
    """Figures of one answer, collected from its events: the cache's verdict, and tokens of model and judge.

    Of a request that was not let in, `refused_for` is the error's code. `first_token_seconds` is from the request to the
    answer's first word.
    """

    verdict: CacheVerdict | None = None
    tokens: int = 0
    judge_tokens: int = 0
    embedded_tokens: int = 0
    characters: int = 0
    refused_for: str = ""
    is_measured: bool = False
    began_at: float = field(default_factory=time.monotonic)
    first_token_seconds: float | None = None

    def observe(self, event: AnswerEvent) -> None:
        """Take note of the answer's next event."""
        if isinstance(event, TokenEvent):
            self.characters += len(event.text)
            if self.first_token_seconds is None:
                self.first_token_seconds = time.monotonic() - self.began_at
        elif isinstance(event, StatusEvent):
            self.verdict = self.verdict or event.cache
            self.judge_tokens += event.judge_tokens + event.reading_tokens
        elif isinstance(event, UsageEvent):
            self.tokens = event.usage.total_tokens
            self.is_measured = self.is_measured or self.tokens > 0
        elif isinstance(event, DoneEvent):
            # A server need not count; where no model wrote, there is nothing to count. What was stopped may have cost all.
            is_stopped = event.finish_reason is FinishReason.STOPPED
            self.is_measured = self.is_measured or (event.model is None and not is_stopped)
        elif isinstance(event, PassagesEvent):
            self.characters += sum(len(passage.chunk.text) for passage in event.passages)

    @property
    def tokens_saved(self) -> int:
        """The tokens that this answer did not cost, because another asker's answer was given."""
        return self.tokens if self.verdict in {CacheVerdict.HIT, CacheVerdict.SHARED} else 0

    @property
    def tokens_spent(self) -> int:
        """The tokens that this answer cost its asker.

        An answer that its asker has left before its usage came is estimated: leaving early is no way around a limit.
        """
        if self.verdict in {CacheVerdict.HIT, CacheVerdict.SHARED, None}:
            return self.judge_tokens + self.embedded_tokens
        tokens = self.tokens if self.is_measured else self.characters // CHARACTERS_PER_TOKEN
        return tokens + self.judge_tokens


Report = Callable[[AnswerMetrics], None]


def verdict_header(first: AnswerEvent) -> dict[str, str]:
    """`X-Cache` from an answer's first event, and the age in seconds of an answer from the cache."""
    if not isinstance(first, StatusEvent) or first.cache is None:
        return {"X-Cache": CacheVerdict.MISS}
    age = {} if first.age_seconds is None else {"Age": str(int(first.age_seconds))}
    return {"X-Cache": first.cache, **age}


def report_to_cloudwatch(answer: AnswerMetrics, *, namespace: str) -> None:
    """Print one line that CloudWatch makes metrics of, in the deployment's own namespace."""
    # A cold start has no need of it.
    from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

    if answer.verdict is None and answer.refused_for not in REFUSALS:
        return
    metrics = EphemeralMetrics(namespace=namespace, service="chat")
    if answer.verdict is None:
        metrics.add_metric(name=REFUSALS[answer.refused_for], unit=MetricUnit.Count, value=1)
        metrics.flush_metrics()
        return
    metrics.add_metric(name=METRICS[answer.verdict], unit=MetricUnit.Count, value=1)
    metrics.add_metric(name="TokensSpent", unit=MetricUnit.Count, value=answer.tokens_spent)
    metrics.add_metric(name="TokensSaved", unit=MetricUnit.Count, value=answer.tokens_saved)
    if answer.first_token_seconds is not None:
        milliseconds = answer.first_token_seconds * 1000
        metrics.add_metric(name="TimeToFirstToken", unit=MetricUnit.Milliseconds, value=milliseconds)
    metrics.add_metric(name="JudgeTokens", unit=MetricUnit.Count, value=answer.judge_tokens)
    metrics.flush_metrics()
