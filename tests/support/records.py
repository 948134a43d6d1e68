"""Records for the ledger's tests."""

from __future__ import annotations

import random
from typing import Any
from zlib import crc32

from headrace.types import AnswerRecord, RecordedCitation, RecordedPassage, RecordedStep

NOW = 1_795_000_000.0


def record_id(tenant: str, number: int) -> str:
    """A record's id, of no other tenant's; its second half is the number."""
    return f"{crc32(tenant.encode()):08x}{number:08x}"


def record(tenant: str, number: int, **changed: Any) -> AnswerRecord:
    """A record with something in each field."""
    fields: dict[str, Any] = {
        "id": record_id(tenant, number),
        "tenant": tenant,
        "principal": "ann",
        "at": NOW + number,
        "question": "Wann öffnet das Wehr? 🌊",
        "asked_as": "When does the weir open?",
        "answer": "At 412 m [1].",
        "mode": "generated",
        "verdict": "miss",
        "finish": "stop",
        "model": "gpt-x",
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "judge_tokens": 0,
        "tokens_spent": 1100,
        "seconds": 2.5,
        "first_token_seconds": 0.5 + number / 100,
        "passages": (RecordedPassage(1, f"documents/{tenant}/a.txt", "page 2", 0.7, 0.8, True),),
        "citations": (RecordedCitation(1, f"documents/{tenant}/a.txt", "opens at 412 m"),),
        "steps": (RecordedStep("search_documents", "done", 0.1),),
        "nearest": ("a.txt",),
        "unsupported": ("It closes at 9.",),
        "answer_id": "f" * 24,
        "conversation_id": "c1",
    }
    return AnswerRecord(**{**fields, **changed})


def many(tenant: str, count: int) -> list[AnswerRecord]:
    """Records as a month has them: hits, refusals and faults among them."""
    chance = random.Random(7)
    return [
        record(
            tenant,
            number,
            at=NOW + number * 260.0,
            question=f"question {chance.randrange(400)}",
            asked_as="",
            answer="word " * 60,
            verdict=chance.choice(["miss", "hit", "shared"]),
            mode=chance.choice(["generated"] * 8 + ["refused"]),
            error=chance.choice([""] * 20 + ["model_unavailable"]),
            first_token_seconds=chance.expovariate(1.0),
        )
        for number in range(count)
    ]
