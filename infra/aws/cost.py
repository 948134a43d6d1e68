"""What a deployment costs a month: idle, and by the number of chats. The formula is docs/cost.md's, the prices prices.toml's."""

from __future__ import annotations

import argparse
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRICES = Path(__file__).with_name("prices.toml")
HOURS = 730.0
# An answer that a model writes is billed until its last token; one from the cache is quick.
MISS_SECONDS = 8.3
HIT_SECONDS = 0.25
# What one chat asks of the cache (commands, and kilobytes read or written), and of the log.
UNITS_A_CHAT = 60.0
LOG_KB_A_CHAT = 2.0
INPUT_TOKENS = 2_800.0
OUTPUT_TOKENS = 300.0
# Nearest by embedding, and by the rarest words.
QUERIES_A_SEARCH = 2.0
# The stack's alarms and metrics; a metric costs in the hours in which somebody asks.
ALARMS = 9
METRICS = 26
SWEEPS_A_MONTH = 4 * HOURS
SWEEP_GB_SECONDS = 0.5 * 0.4
# One a sweep, and every five minutes of an environment that is always in use.
SECRET_CALLS = SWEEPS_A_MONTH + 12 * HOURS
# Two event sources, each with five pollers that wait for 20 seconds.
QUEUE_REQUESTS = 2 * 5 * 3 * 60 * HOURS


@dataclass(frozen=True, slots=True)
class Usage:
    """A month: chats, the share that the cache answers, and how the stack is set."""

    chats: float = 0.0
    hit_rate: float = 0.0
    memory_gb: float = 1.0
    cached_gb: float = 0.0
    documents_gb: float = 1.0
    architecture: str = "arm64"
    cache: str = "serverless-public"
    vector_store: str = "s3vectors"
    # Some ten thousand chunks of 1,536 dimensions.
    vectors_gb: float = 0.1
    snap_start: bool = False
    model: str = "gpt-4_1-mini"


def monthly_cost(usage: Usage, prices: dict[str, Any]) -> dict[str, float]:
    """Dollars a month by what they are for; `model` is the language model's, the rest AWS's."""
    compute, cache, vectors, other = prices["lambda"], prices["elasticache"], prices["s3vectors"], prices["other"]
    misses, hits = usage.chats * (1 - usage.hit_rate), usage.chats * usage.hit_rate
    gb_seconds = usage.memory_gb * (misses * MISS_SECONDS + hits * HIT_SECONDS) + SWEEPS_A_MONTH * SWEEP_GB_SECONDS
    requests = usage.chats + SWEEPS_A_MONTH
    brings_cache = usage.cache == "serverless-public"
    tokens = prices["models"][usage.model]
    queue = max(QUEUE_REQUESTS - other["free_queue_requests"], 0) / 1e6 * other["million_queue_requests"]
    alarms = ALARMS if brings_cache else ALARMS - 1
    return {
        "functions": gb_seconds * compute["gb_second"][usage.architecture] + requests * compute["request"]
        + (usage.memory_gb * compute["snapstart_gb_month"] if usage.snap_start else 0.0),
        "cache": max(usage.cached_gb, cache["least_gb"]) * cache["gb_hour"] * HOURS
        + usage.chats * UNITS_A_CHAT / 1e6 * cache["million_units"] if brings_cache else 0.0,
        "vectors": usage.vectors_gb * vectors["gb_month"]
        + misses * QUERIES_A_SEARCH * (vectors["million_queries"] / 1e6 + usage.vectors_gb / 1e3 * vectors["tb_processed"])
        if usage.vector_store == "s3vectors" else 0.0,
        "alarms, dashboard, metrics": alarms * other["alarm_month"] + other["dashboard_month"]
        + (METRICS * other["metric_month"] if usage.chats else 0.0),
        "secret, queues, logs, bucket": other["secret_month"] + SECRET_CALLS * other["secret_call"] + queue + usage.chats * LOG_KB_A_CHAT / 1e6 * other["log_gb"]
        + usage.documents_gb * other["bucket_gb_month"],
        "model": misses * (INPUT_TOKENS * tokens["million_input"] + OUTPUT_TOKENS * tokens["million_output"]) / 1e6,
    }  # fmt: skip


def read_prices() -> dict[str, Any]:
    """The dated prices."""
    return tomllib.loads(PRICES.read_text())


def add_cost_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of `make cost`."""
    parser.add_argument("--chats", type=float, help="questions a month; without it, a table")
    parser.add_argument("--hit-rate", type=float, default=0.3, help="share that the cache answers (default 0.3)")
    parser.add_argument("--cache", default="serverless-public", choices=["serverless-public", "external-url"])
    parser.add_argument(
        "--cached-gb", type=float, default=0.0, help="what the cache stores (100 MB are billed at least)"
    )
    parser.add_argument("--vector-store", default="s3vectors", choices=["s3vectors", "another"])
    parser.add_argument("--vectors-gb", type=float, default=0.1, help="chunks with their vectors (10,000 are 0.1)")
    parser.add_argument("--documents-gb", type=float, default=1.0)
    parser.add_argument("--memory-gb", type=float, default=1.0, help="of the chat function (default 1)")
    parser.add_argument("--architecture", default="arm64", choices=["arm64", "x86_64"])
    parser.add_argument("--snap-start", action="store_true")
    parser.add_argument("--model", default="gpt-4_1-mini", choices=sorted(read_prices()["models"]))


def print_cost(given: argparse.Namespace) -> None:
    """The parts of one month; or a table of many: idle, by chats and hit rates, and a thousand chats."""
    prices = read_prices()
    names = (
        "hit_rate",
        "cache",
        "cached_gb",
        "vector_store",
        "vectors_gb",
        "documents_gb",
        "memory_gb",
        "architecture",
        "snap_start",
        "model",
    )
    chosen = {name: getattr(given, name) for name in names}
    print(
        f"Dollars a month, {prices['region']}, prices of {prices['as_of']}. Without another vector store, free tiers and tax.\n"
    )
    if given.chats is not None:
        parts = monthly_cost(Usage(chats=given.chats, **chosen), prices)
        for name, dollars in [*parts.items(), ("together", sum(parts.values()))]:
            print(f"  {name:30} {dollars:10.2f}")
        return
    print(f"  {'chats a month':>16} {'hit rate':>9} {'AWS':>9} {given.model:>24} {'together':>10}")
    for chats in (0, 1_000, 60_000, 600_000, 1_000_000):
        for hit_rate in (0.0, 0.3, 0.6) if chats else (0.0,):
            parts = monthly_cost(Usage(chats=chats, **{**chosen, "hit_rate": hit_rate}), prices)
            aws = sum(parts.values()) - parts["model"]
            print(f"  {chats:16,} {hit_rate:9.1f} {aws:9.2f} {parts['model']:24.2f} {aws + parts['model']:10.2f}")
    idle, busy = (monthly_cost(Usage(chats=chats, **chosen), prices) for chats in (60_000, 61_000))
    more = {name: busy[name] - idle[name] for name in idle}
    aws = sum(more.values()) - more["model"]
    print(
        f"\n  A thousand chats more, hit rate {given.hit_rate}: {aws:.3f} for AWS, {more['model']:.2f} for the model."
    )
