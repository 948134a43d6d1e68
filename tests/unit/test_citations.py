"""Markers become citations while the text streams, however it is cut into pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.answering.citations import CitationFilter, best_quote
from headrace.types import Chunk, CitationEvent, Passage, text_of

CHUNKS = [
    Chunk("documents/a.txt", 1, 0, "Parents may take 26 weeks. Tell the office early."),
    Chunk("documents/b.txt", 1, 0, "The bearing takes 18 litres of oil."),
]
PASSAGES = [Passage(chunk, 0.5) for chunk in CHUNKS]


def run(*pieces: str) -> tuple[str, list[tuple[int, str]]]:
    filter_ = CitationFilter(PASSAGES)
    events = [event for piece in pieces for event in filter_.feed(piece)] + list(filter_.close())
    text = text_of(events)
    cited = [(e.citation.number, e.citation.quote) for e in events if isinstance(e, CitationEvent)]
    return text, cited


def test_a_marker_is_cited_once_with_the_sentence_that_carries_the_claim() -> None:
    text, cited = run("Tell the office [1]. It takes 18 litres [2], early [1].")
    assert text == "Tell the office [1]. It takes 18 litres [2], early [1]."
    assert cited == [(1, "Tell the office early."), (2, "The bearing takes 18 litres of oil.")]


def test_each_sentence_that_is_quoted_is_a_citation_once() -> None:
    _, cited = run("“Parents may take 26 weeks.” [1] “Tell the office early.” [1] And early, the office is told [1].")
    assert cited == [(1, "Parents may take 26 weeks."), (1, "Tell the office early.")]


def test_markers_that_name_no_passage_are_dropped() -> None:
    assert run("So it is [7], or [0], or [1, 9].") == ("So it is , or , or [1].", [(1, "Parents may take 26 weeks.")])


def test_several_numbers_in_one_marker_are_several_citations() -> None:
    text, cited = run("Both say so [1, 2].")
    assert text == "Both say so [1][2]."
    assert [number for number, _ in cited] == [1, 2]


def test_code_and_quotations_are_text() -> None:
    code = "Use `a[1]` or\n```\nb[2]\n```\nand “see [1] there”."
    assert run(code) == (code, [])


def test_brackets_that_are_no_markers_stay() -> None:
    for text in ("[x] is open", "an [unfinished", "[12345]", "a[]b", "ends with [1"):
        assert run(text)[0] == text


@given(st.lists(st.sampled_from(["[1]", "[2]", "[", "]", "1", " word", "`", "“", "”", "\n", ",", "[1, 2]"])), st.data())
def test_how_the_text_is_cut_does_not_matter(parts: list[str], data: st.DataObject) -> None:
    whole = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert run(*pieces) == run(whole)


@given(st.text(max_size=200))
def test_a_quote_is_always_a_piece_of_its_chunk(claim: str) -> None:
    for chunk in CHUNKS:
        start, end = best_quote(claim, chunk)
        assert 0 <= start < end <= len(chunk.text)
