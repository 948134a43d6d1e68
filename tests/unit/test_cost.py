"""What a deployment costs: the formula, and that the documents say what it says."""

from __future__ import annotations

import math
import re

import pytest

from infra.aws.cost import PRICES, Usage, monthly_cost, read_prices
from infra.local.processes import ROOT

PRICE = read_prices()
DOCS = (ROOT / "docs" / "cost.md").read_text()


def aws(**usage: float | str | bool) -> float:
    parts = monthly_cost(Usage(**usage), PRICE)  # type: ignore[arg-type]
    return sum(parts.values()) - parts["model"]


def test_idle_is_under_twelve_dollars_and_the_cache_s_least_is_most_of_it() -> None:
    assert aws() < 12
    assert monthly_cost(Usage(), PRICE)["cache"] == pytest.approx(0.1 * 0.084 * 730)
    assert monthly_cost(Usage(), PRICE)["model"] == 0
    assert aws() - aws(cache="external-url") > 6


def test_a_miss_is_billed_to_its_last_token_and_a_hit_is_not() -> None:
    miss, hit = (aws(chats=1e6, hit_rate=rate) - aws(chats=1, hit_rate=rate) for rate in (0.0, 1.0))
    compute, searches = 1e6 * (8.3 - 0.25) * 0.0000133334, 2e6 * (2.5 / 1e6 + 0.0001 * 0.004)
    assert miss - hit == pytest.approx(compute + searches, rel=1e-3)
    assert aws(chats=1e6, vector_store="another") == pytest.approx(aws(chats=1e6) - searches - 0.1 * 0.06)
    assert monthly_cost(Usage(chats=1e6, hit_rate=1.0), PRICE)["model"] == 0
    assert aws(chats=1e6, architecture="x86_64") > aws(chats=1e6) * 1.15
    assert aws(snap_start=True) - aws() == pytest.approx(3.95)
    assert aws(cached_gb=1.0) - aws(cached_gb=0.1) == pytest.approx(0.9 * 0.084 * 730)


@pytest.mark.parametrize(("chats", "line"), [(60_000, "100 users"), (600_000, "1,000 users")])
def test_the_table_of_the_docs_is_the_formula_s(chats: int, line: str) -> None:
    row = next(text for text in DOCS.splitlines() if text.startswith(f"| {line}"))
    figures = [float(figure) for figure in re.findall(r"\d+(?:\.\d+)?", row.partition("$")[2].replace(",", ""))]
    parts = [monthly_cost(Usage(chats=chats, hit_rate=rate), PRICE) for rate in (0.0, 0.3, 0.6)]
    expected = [sum(part.values()) - part["model"] for part in parts] + [part["model"] for part in parts]
    assert all(math.isclose(figure, right, abs_tol=0.006) for figure, right in zip(figures, expected, strict=True)), (
        figures,
        expected,
    )


def test_idle_in_the_docs_and_the_readme_is_the_formula_s() -> None:
    idle = f"${aws():.2f}"
    assert f"| idle | {idle} |" in DOCS
    assert idle in (ROOT / "README.md").read_text()
    assert str(PRICE["as_of"]) in PRICES.read_text()
