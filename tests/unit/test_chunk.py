"""Chunks hold the whole text, in order, within their size and their section."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from functions.ingest.chunk import MAX_CHARACTERS, TokenLimit, chunk_blocks
from headrace.types import Block

blocks = st.lists(
    st.builds(
        Block,
        st.text(st.sampled_from("ab .\n"), min_size=1, max_size=2500).filter(str.strip),
        st.none() | st.integers(1, 3),
        st.lists(st.sampled_from(["A", "B"]), max_size=2).map(tuple),
    ),
    min_size=1,
    max_size=12,
)


@given(blocks)
def test_nothing_is_lost_and_nothing_is_too_long(given_blocks: list[Block]) -> None:
    chunks = chunk_blocks(given_blocks, document_key="documents/a", generation=1)
    kept = "".join("".join(chunk.text.split()) for chunk in chunks)
    expected = "".join("".join(b.text.split()) for b in given_blocks if not b.section or b.text != b.section[-1])
    assert len(kept) >= len(expected)
    assert all(len(chunk.text) <= MAX_CHARACTERS for chunk in chunks)
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))


def test_short_paragraphs_share_a_chunk_and_sections_do_not() -> None:
    made = chunk_blocks(
        [Block("one", 1, ("A",)), Block("two", 1, ("A",)), Block("three", 1, ("B",))], document_key="d", generation=1
    )
    assert [(chunk.text, chunk.section) for chunk in made] == [("one\ntwo", ("A",)), ("three", ("B",))]


def test_a_heading_alone_is_no_chunk_unless_there_is_nothing_else() -> None:
    made = chunk_blocks([Block("A", None, ("A",)), Block("text", None, ("A", "B"))], document_key="d", generation=1)
    assert [chunk.text for chunk in made] == ["text"]
    assert [c.text for c in chunk_blocks([Block("A", None, ("A",))], document_key="d", generation=1)] == ["A"]


def test_a_page_that_says_enough_ends_its_chunk() -> None:
    made = chunk_blocks([Block("x" * 400, 1), Block("y", 2), Block("z", 3)], document_key="d", generation=1)
    assert [(chunk.page, chunk.text[-1]) for chunk in made] == [(1, "x"), (2, "z")]


def test_the_context_header_is_embedded_and_not_quoted() -> None:
    (chunk,) = chunk_blocks([Block("text", 4, ("A", "B"))], document_key="documents/t/x/a.pdf", generation=1)
    assert chunk.text == "text"
    assert chunk.text_to_embed == "x/a.pdf › A › B\ntext"
    assert chunk.place == "page 4 · A › B"


def words(text: str) -> int:
    return len(text.split())


def test_what_the_model_would_cut_off_is_cut_before() -> None:
    limit = TokenLimit(50, words)
    blocks = [Block(" ".join(f"a{i}" for i in range(120)), section=("S",)), Block("short.", section=("S",))]
    chunks = chunk_blocks(blocks, document_key="documents/t/a.txt", generation=1, limit=limit)
    assert all(words(chunk.text_to_embed) <= 50 for chunk in chunks)
    assert " ".join(chunk.text for chunk in chunks).split() == [*(f"a{i}" for i in range(120)), "short."]
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))


def test_a_text_without_spaces_in_a_script_of_many_tokens_is_cut_too() -> None:
    limit = TokenLimit(256, lambda text: len(text.encode()) // 3)
    chunks = chunk_blocks([Block("漢" * 2000)], document_key="documents/t/a.txt", generation=1, limit=limit)
    assert "".join(chunk.text for chunk in chunks) == "漢" * 2000
    assert all(limit.allows(chunk.text_to_embed) for chunk in chunks)


def test_a_chunk_leads_on_from_the_one_before_but_does_not_quote_it() -> None:
    blocks = [Block(f"{'x' * 700} end. Sentence {i} is the last."[:800], section=("S",)) for i in range(2)]
    blocks.append(Block("Another part.", section=("T",)))
    first, second, third = chunk_blocks(blocks, document_key="documents/t/a.txt", generation=1)
    assert (first.lead, second.lead, third.lead) == ("", "Sentence 0 is the last.", "")
    assert "Sentence 0" in second.text_to_embed
    assert "Sentence 0" not in second.text


def test_a_table_is_kept_as_html_in_each_chunk_that_has_rows_of_it() -> None:
    rows = [Block(f"Part: <b>{i}; Price: 1", cells=(("Part", f"<b>{i}"), ("Price", "1"))) for i in range(2)]
    (chunk,) = chunk_blocks([Block("Prices:"), *rows], document_key="documents/t/a.txt", generation=1)
    assert chunk.html == (
        "<table><tr><th>Part</th><th>Price</th></tr><tr><td>&lt;b&gt;0</td><td>1</td></tr>"
        "<tr><td>&lt;b&gt;1</td><td>1</td></tr></table>"
    )
