"""Charts of Office files as tables, diagrams as their words. Reference: ECMA-376, part 1, 21.2 (DrawingML charts)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headrace.parsers.archives import text_of
from headrace.parsers.number_formats import plain_number

MOST_POINTS = 1_000


def chart_rows(root: Any) -> tuple[str, list[list[str]]]:
    """The chart's title, and a row for each category under the series' names."""
    title = " ".join(text_of(part) for part in root.iterfind(".//{*}chart/{*}title"))
    series = list(root.iter("{*}ser"))
    names = [_text(one.find("{*}tx")) or f"Series {number}" for number, one in enumerate(series, 1)]
    categories: dict[int, str] = {}
    values: list[dict[int, str]] = []
    for one in series:
        for place in ("{*}cat", "{*}xVal"):
            categories |= _points(one.find(place))
        found = _points(one.find("{*}val"))
        values.append(found or _points(one.find("{*}yVal")))
    numbers = sorted({*categories, *(number for found in values for number in found)})[:MOST_POINTS]
    rows = [[categories.get(number, ""), *(found.get(number, "") for found in values)] for number in numbers]
    return title, [["", *names], *rows] if rows else []


def words_of_diagram(root: Any) -> Iterator[str]:
    """The words of a diagram (SmartArt), a text for each of its shapes."""
    for point in root.iter("{*}pt"):
        if text := text_of(point):
            yield text


def _points(element: Any) -> dict[int, str]:
    if element is None:
        return {}
    points = ((point.get("idx", ""), point.findtext("{*}v") or "") for point in element.iter("{*}pt"))
    return {int(number): _plain(text) for number, text in points if number.isdigit()}


def _plain(text: str) -> str:
    try:
        return plain_number(float(text)) if "." in text or "E" in text else text
    except ValueError:
        return text


def _text(element: Any) -> str:
    if element is None:
        return ""
    return " ".join(" ".join(element.itertext("{*}v", "{*}t")).split())
