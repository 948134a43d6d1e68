"""What a question and a text share in words depends on these two alone, and is the same however it is worked out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.text.lexical import blend, chunk_weights, overlap, question_weights, terms

texts = st.text(st.sampled_from("abc XYZ.-_'é日1\n"), max_size=80)


@given(texts, texts)
def test_the_overlap_is_the_dot_product_of_the_sparse_vectors(question: str, text: str) -> None:
    weights, held = question_weights(question), chunk_weights(text)
    product = sum(weight * held.get(term, 0.0) for term, weight in weights.items())
    assert overlap(question, text) == pytest.approx(product)
    assert 0 <= product < 1


@given(texts)
def test_a_questions_shares_sum_to_one_and_are_32_bits_wide(question: str) -> None:
    weights = question_weights(question)
    assert not weights or sum(weights.values()) == pytest.approx(1.0)
    assert all(0 <= term < 2**32 for term in weights)


def test_words_are_stems_and_compounds_are_also_their_parts() -> None:
    assert terms("The pumps of os.path.join") == ["pump", "os.path.join", "os", "path", "join"]
    assert terms("what is it?") == []


def test_scripts_without_spaces_share_pairs_of_letters() -> None:
    assert terms("开机之前检查油位。") == ["开机", "机之", "之前", "前检", "检查", "查油", "油位"]
    assert terms("第3章") == ["第", "3", "章"]
    assert terms("泵A4711的价格") == ["泵", "a4711", "的价", "价格"]
    assert overlap("油位怎么检查？", "开机之前检查油位，开机之后检查压力。") > 0.2
    assert overlap("油位怎么检查？", "关于假期的规定。") == 0.0
    assert overlap("ポンプの重量は？", "アルファポンプの重量は十二キロです。") > 0.4
    assert overlap("매출은 얼마입니까", "올해 매출이 늘었다") > 0


def test_rare_words_weigh_more_than_common_ones() -> None:
    common, rare = "How is the year at X-4711?", "X-4711 lasts"
    assert overlap(common, "about X-4711") > overlap(common, "about the year")
    assert overlap(rare, "bread") == 0.0


def test_a_text_that_says_it_more_often_or_more_briefly_shares_more() -> None:
    assert overlap("gasket", "gasket gasket") > overlap("gasket", "gasket other")
    assert overlap("gasket", "gasket") > overlap("gasket", "gasket" + " filler" * 200)


def test_a_blend_is_between_its_parts() -> None:
    assert blend(0.5, 0.2, 1.0) == 0.5
    assert blend(0.5, 0.2, 0.6) == pytest.approx(0.38)


def test_an_identifier_as_a_whole_counts_more_than_its_parts() -> None:
    question = "What does ERR_TG_5003 mean?"
    whole = "ERR_TG_5003: The pressure sensor does not answer. Replace the sensor cable, and try again."
    parts = "err: 1; tg: 2; 5003: 3; err_tg: 4"
    assert overlap(question, whole) > 1.2 * overlap(question, parts)
    assert overlap("how is os.path used", "os.path joins") > overlap("how is os.path used", "the os has a path")


@pytest.mark.parametrize(
    ("question", "text", "other"),
    [
        ("Welche Frist gilt?", "Die Kündigungsfrist beträgt drei Monate.", "Die Miete beträgt 940 Euro."),
        (
            "Wie lang ist die Kündigungsfrist?",
            "Für die Kündigung gilt eine Frist von drei Monaten.",
            "Die Miete ist hoch.",
        ),
        ("Wat is de opzegtermijn?", "De termijn is drie maanden, voor wie opzegt.", "De huur is hoog."),
        ("ما هو السعر", "سِعر المضخة أربعون درهما", "الميناء مفتوح كل يوم"),
        ("איפה הנמל", "הנמל פתוח", "המחיר גבוה"),
    ],
)
def test_words_are_found_as_parts_of_words_and_in_their_forms(question: str, text: str, other: str) -> None:
    assert overlap(question, text) > 0.05 + overlap(question, other)


def test_words_that_mean_nothing_by_themselves_are_no_terms_in_other_languages() -> None:
    assert terms("Wie ist das und für wen?") == ["wen"]
    assert terms("où est le et la") == []
