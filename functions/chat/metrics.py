"""Figures of each answer: what the cache had, in a header for who asks; all of them in CloudWatch's embedded metric format, or for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from headrace.errors import AbandonedError, DeadlineExceededError, HeadraceError, InvalidInputError, RefusedError
from headrace.ledger.pricing import Pricing
from headrace.types import (
    AnswerEvent,
    AnswerMode,
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
# Of those that count nothing.
UNITS = {"BestSimilarity": "None", "DollarsSpent": "None", "TimeToFirstToken": "Milliseconds"}
# Codes of faults of models: those that write, judge and embed.
OF_MODELS = ("model_", "embedder_")


@dataclass(slots=True)
class AnswerMetrics:
    """Figures of one answer, collected from its events: the cache's verdict, and tokens of model and judge.

    Of a request that was not let in, `refused_for` is the error's code; `error` is the code of what ended an answer, and
    `has_failed` says whether that is a fault, and not its asker's doing. `asked` is the model in `/v1/models` that was asked,
    `model` the one that wrote. `first_token_seconds` is from the request to the answer's first word, `similarity` the best
    passage's to the question.
    """

    verdict: CacheVerdict | None = None
    tokens: int = 0
    judge_tokens: int = 0
    embedded_tokens: int = 0
    characters: int = 0
    refused_for: str = ""
    error: str = ""
    has_failed: bool = False
    asked: str = ""
    mode: str = ""
    model: str = ""
    similarity: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
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
            self.mode = event.mode or self.mode
            self.judge_tokens += event.judge_tokens + event.reading_tokens
        elif isinstance(event, UsageEvent):
            self.tokens = event.usage.total_tokens
            self.prompt_tokens, self.completion_tokens = event.usage.prompt_tokens, event.usage.completion_tokens
            self.is_measured = self.is_measured or self.tokens > 0
        elif isinstance(event, DoneEvent):
            # A server need not count; where no model wrote, there is nothing to count. What was stopped may have cost all.
            is_stopped = event.finish_reason is FinishReason.STOPPED
            self.is_measured = self.is_measured or (event.model is None and not is_stopped)
            self.mode, self.model = event.mode, event.model or ""
        elif isinstance(event, PassagesEvent):
            self.characters += sum(len(passage.chunk.text) for passage in event.passages)
            known = [passage.similarity for passage in event.passages if passage.similarity is not None]
            self.similarity = max(known, default=self.similarity)

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

    def fail(self, error: BaseException) -> None:
        """The answer ends with this."""
        if isinstance(error, TimeoutError):
            error = DeadlineExceededError()
        elif not isinstance(error, Exception):
            # Whoever waited is gone, or the process ends.
            error = AbandonedError("Nobody waits for it any longer.")
        self.error = error.code if isinstance(error, HeadraceError) else HeadraceError.code
        self.has_failed = not isinstance(error, (AbandonedError, InvalidInputError, RefusedError))


Report = Callable[[AnswerMetrics], None]


def verdict_header(first: AnswerEvent) -> dict[str, str]:
    """`X-Cache` from an answer's first event, and the age in seconds of an answer from the cache."""
    if not isinstance(first, StatusEvent) or first.cache is None:
        return {"X-Cache": CacheVerdict.MISS}
    age = {} if first.age_seconds is None else {"Age": str(int(first.age_seconds))}
    return {"X-Cache": first.cache, **age}


def report_to_cloudwatch(answer: AnswerMetrics, *, namespace: str, pricing: Pricing) -> None:
    """Print one line that CloudWatch makes metrics of, in the deployment's own namespace."""
    # A cold start has no need of it.
    from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

    figures = _figures(answer, pricing)
    if not figures:
        return
    metrics = EphemeralMetrics(namespace=namespace, service="chat")
    for name, value in figures.items():
        metrics.add_metric(name=name, unit=MetricUnit(UNITS.get(name, "Count")), value=value)
    # As dimensions they would cost by each of their values; Logs Insights finds them here.
    metrics.add_metadata(key="model", value=answer.model or answer.asked)
    metrics.add_metadata(key="error", value=answer.error or answer.refused_for)
    metrics.flush_metrics()


def report_to_prometheus(answer: AnswerMetrics, *, pricing: Pricing) -> None:
    """Count it where `GET /metrics` finds it."""
    from headrace.observability import prometheus

    if answer.refused_for:
        prometheus.NOT_LET_IN.labels(answer.refused_for).inc()
        return
    prometheus.ANSWERS.labels(answer.mode or "none", answer.verdict or "none", answer.model or "none").inc()
    if answer.has_failed:
        prometheus.ERRORS.labels(answer.error, answer.asked or "none").inc()
    for kind, tokens in (
        ("spent", answer.tokens_spent),
        ("saved", answer.tokens_saved),
        ("judge", answer.judge_tokens),
    ):
        prometheus.TOKENS.labels(kind).inc(tokens)
    prometheus.DOLLARS.inc(_dollars(answer, pricing) or 0.0)
    if answer.first_token_seconds is not None:
        prometheus.FIRST_TOKEN_SECONDS.observe(answer.first_token_seconds)
    if answer.similarity is not None:
        prometheus.SIMILARITY.observe(answer.similarity)


def _dollars(answer: AnswerMetrics, pricing: Pricing) -> float | None:
    """What the answer cost; None where that is not known: of one that ended early, tokens are an estimate."""
    return None if answer.error else pricing.dollars(answer)


def _figures(answer: AnswerMetrics, pricing: Pricing) -> dict[str, float]:
    """What there is to say of an answer, by the metric's name."""
    if answer.refused_for in REFUSALS:
        return {REFUSALS[answer.refused_for]: 1}
    figures: dict[str, float] = {}
    if answer.has_failed:
        figures["AnswerErrors"] = 1
        figures |= {"ModelErrors": 1} if answer.error.startswith(OF_MODELS) else {}
    if answer.verdict is None:
        return figures
    figures |= {
        METRICS[answer.verdict]: 1,
        "TokensSpent": answer.tokens_spent,
        "TokensSaved": answer.tokens_saved,
        "JudgeTokens": answer.judge_tokens,
        "AnswersRefused": float(answer.mode == AnswerMode.REFUSED),
    }
    dollars = _dollars(answer, pricing)
    figures |= {} if dollars is None else {"DollarsSpent": dollars}
    figures |= {} if answer.first_token_seconds is None else {"TimeToFirstToken": answer.first_token_seconds * 1000}
    return figures | ({} if answer.similarity is None else {"BestSimilarity": answer.similarity})
