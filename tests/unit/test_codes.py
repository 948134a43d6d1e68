"""Digits, codes and units: what may only say that two questions are not the same."""

from __future__ import annotations

import pytest

from headrace.text.codes import codes_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Orders up to 100 euros", "Orders up to 1000 euros"),
        ("What is alarm E12?", "What is alarm E21?"),
        ("a pipe of 5 mm", "a pipe of 5 cm"),
        ("a dose of 10 mg", "a dose of 10 ml"),
        ("the fee in 2024", "the fee in 2025"),
        ("version 2.1", "version 2.10"),
        ("from -20 °C", "from 20 °C"),
        ("area in 10²", "area in 102"),
        ("a discount of 5 %", "a discount of 5 €"),
        ("第3章说什么？", "第4章说什么？"),
        ("ما ثمن ٣ قطع؟", "ما ثمن ٤ قطع؟"),
        ("Paragraph §12", "Paragraph §13"),
        ("two of 5 and 5", "two of 5"),
        ("more than >5 bar", "less than <5 bar"),
        ("a plant of 5 MW", "a plant of 5 mW"),
        ("100 Mb free", "100 MB free"),
        ("a file of 5MB", "a file of 5Mb"),
    ],
)
def test_other_codes_are_other_questions(one: str, other: str) -> None:
    assert codes_of(one) != codes_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is alarm E12?", "Tell me about alarm e12, please."),
        ("It costs $5.", "It costs 5 $"),
        ("5mm pipes", "pipes of 5 mm"),
        ("ما ثمن ٣ قطع؟", "ثمن 3 قطع"),
        ("\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT TWO} pumps", "12 pumps"),
        ("第3章说什么？", "说说第3章"),
        ("12 in Berlin", "Berlin has 12"),
        ("5 KG of sand", "5 kg of sand"),
        ("5KG of sand", "5 kg of sand"),
        ("(E12)?", "»e12«"),
        ("no code at all", "and none here"),
        ("-20 °C", "\N{MINUS SIGN}20 °C"),
    ],
)
def test_the_same_codes_may_be_the_same_question(one: str, other: str) -> None:
    assert codes_of(one) == codes_of(other)


@pytest.mark.parametrize("text", ["a", "1", "1,", "-", "?", "[", "$", "1m", "a "])
def test_a_long_text_is_read_once(text: str) -> None:
    # In time that grows with the square of the length, this would take hours.
    assert codes_of("1" + text * 200_000 + "1")
