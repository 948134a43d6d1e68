"""Questions from what askers said of their answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from headrace.types import DocumentKey
from infra.aws.smoke import Door
from infra.evaluation.asking import at_once

PAGE = 200


def from_feedback(door: Door, *, days: int) -> list[dict[str, Any]]:
    """Lines of a set: liked answers as what should come again, disliked ones as drafts. Raises SmokeError."""
    found = [(kind, each) for kind in ("up", "down") for each in _rated(door, kind, days)]
    records = at_once(lambda pair: door.call("GET", f"/admin/answers/{pair[1]['id']}").json(), found)
    lines = [_line(kind, record) for (kind, _), record in zip(found, records, strict=True)]
    return [line for line in lines if line["question"]]


def _rated(door: Door, kind: str, days: int) -> Iterator[dict[str, Any]]:
    after = ""
    while True:
        asked = {"kind": kind, "days": days, "limit": PAGE, **({"after": after} if after else {})}
        page = door.call("GET", f"/admin/answers?{urlencode(asked)}").json()
        yield from page["answers"]
        after = page["next"]
        if not after:
            return


def _line(kind: str, record: dict[str, Any]) -> dict[str, Any]:
    question = record["asked_as"] or record["question"]
    documents = sorted({DocumentKey(each["document"]).name for each in record["citations"]})
    if kind == "up" and record["mode"] == "refused":
        return {"question": question, "refused": True}
    if kind == "up" and documents:
        return {"question": question, "documents": documents}
    return {"question": question, "draft": record["feedback"]["comment"] or "It was disliked."}
