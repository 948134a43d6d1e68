"""Where a text may be quoted."""

from __future__ import annotations

import pytest

from headrace.text.sentences import sentence_spans


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("港は開いています。船は出発します。", ["港は開いています。", "船は出発します。"]),
        ("「開いています。」船は出発します！", ["「開いています。」", "船は出発します！"]),
        ("1. Pull the plug.\n2. Rinse it.", ["1. Pull the plug.", "2. Rinse it."]),
        ("Bis zum 31. Oktober. Danach nicht.", ["Bis zum 31. Oktober.", "Danach nicht."]),
        ("هل الميناء مفتوح؟ نعم.", ["هل الميناء مفتوح؟", "نعم."]),
        ("It takes 20. Then stop.", ["It takes 20.", "Then stop."]),
    ],
)
def test_a_sentence_ends_where_its_script_ends_it(text: str, sentences: list[str]) -> None:
    assert [text[start:end] for start, end in sentence_spans(text)] == sentences
