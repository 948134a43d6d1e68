"""Packed rows and their local index, held against plain arithmetic."""

from __future__ import annotations

import hashlib
import math
import random
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.redis_state.answer_cache.local_index import LocalIndex, LogPosition
from headrace.redis_state.answer_cache.rows import Rows, sign_bytes, signs_of, signs_of_floats
from headrace.redis_state.layout import CHECKSUM_CHARACTERS
from headrace.vectors import differences, dot, dots, floats, quantise


def unit(generator: random.Random, dimensions: int) -> list[float]:
    values = [generator.gauss(0, 1) for _ in range(dimensions)]
    length = math.sqrt(sum(value * value for value in values))
    return [value / length for value in values]


def rows(generator: random.Random, count: int, dimensions: int) -> tuple[Rows, dict[str, list[float]]]:
    made, vectors = Rows(dimensions), {}
    for number in range(count):
        vectors[f"{number:024d}"] = unit(generator, dimensions)
        made.append(
            f"{number:024d}",
            f"question “{number}”",
            number / 100,
            quantise(vectors[f"{number:024d}"]),
        )
    return made, vectors


@given(st.integers(0, 2**32), st.integers(1, 400))
def test_a_dot_product_is_off_by_no_more_than_the_error(seed: int, dimensions: int) -> None:
    generator = random.Random(seed)
    one, other = unit(generator, dimensions), unit(generator, dimensions)
    small = quantise(one)
    found = dot(floats(other), small.numbers) * small.scale
    assert abs(found - sum(a * b for a, b in zip(one, other, strict=True))) <= small.error(one) + 1e-5
    assert signs_of_floats(floats(one)) == signs_of(small.numbers) or any(abs(v) < small.scale for v in one)


@pytest.mark.parametrize("dimensions", [1, 7, 8, 16, 384, 1536])
def test_rows_come_back_as_they_were_packed(dimensions: int) -> None:
    made, _ = rows(random.Random(1), 20, dimensions)
    again = Rows.unpack(made.pack(3, 17))
    assert (again.ids, again.questions, again.admission_scores, again.scales) == (
        made.ids[3:17], made.questions[3:17], made.admission_scores[3:17], made.scales[3:17],
    )  # fmt: skip
    assert again.vector(0) == made.vector(3)
    assert len(again.signs) == 14 * sign_bytes(dimensions)
    for cut in (0, 3, 6, 40, len(made.pack()) - 1):
        with pytest.raises((ValueError, Exception)):
            Rows.unpack(made.pack()[:cut])


class Log:
    """Changes as a server numbers them, with their checksums."""

    def __init__(self) -> None:
        self.end = LogPosition("life", 0, "")
        self.changes: list[bytes] = []

    def add(self, change: bytes) -> None:
        checksum = hashlib.sha1(self.end.checksum.encode() + change).hexdigest()[:CHECKSUM_CHARACTERS]  # noqa: S324 - no secret
        self.end = LogPosition("life", self.end.seq + 1, checksum)
        self.changes.append(checksum.encode() + change)

    def bring(self, local_index: LocalIndex) -> None:
        start = local_index.log_position if local_index.log_position.incarnation else LogPosition("life", 0, "")
        local_index.catch_up(start, self.end, self.changes[start.seq :])


def row(entry: str, vector: list[float]) -> bytes:
    made = Rows(len(vector))
    made.append(entry, "q", 0.5, quantise(vector))
    return b"+" + made.pack()


@pytest.mark.parametrize("dimensions", [5, 16, 64, 384])
def test_the_nearest_are_found_through_any_changes(dimensions: int) -> None:
    generator = random.Random(dimensions)
    local_index, log, held = LocalIndex(), Log(), dict[str, list[float]]()
    for _ in range(1, 400):
        if held and generator.random() < 0.3:
            gone = generator.choice(sorted(held))
            del held[gone]
            log.add(f"-{gone}".encode())
        else:
            entry = f"{generator.randrange(200):024d}"
            held[entry] = unit(generator, dimensions)
            log.add(row(entry, held[entry]))
        log.bring(local_index)
        assert len(local_index) == len(held)
        asked = unit(generator, dimensions)
        if held and generator.random() < 0.5:
            turned = [a + 0.1 * b for a, b in zip(held[generator.choice(sorted(held))], asked, strict=True)]
            asked = [value / math.sqrt(sum(v * v for v in turned)) for value in turned]
        exact = {entry: sum(a * b for a, b in zip(asked, vector, strict=True)) for entry, vector in held.items()}
        found = {near.id: near.similarity for near in local_index.nearest(asked, at_least=0.8, limit=1000)}
        for entry, similarity in exact.items():
            if similarity > 0.82:
                assert found[entry] == pytest.approx(similarity, abs=0.02)
            elif similarity < 0.78:
                assert entry not in found


@pytest.mark.parametrize("dimensions", [5, 64, 384])
@pytest.mark.parametrize("alike", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("at_least", [-1.0, 0.3, 0.85, 0.99])
def test_the_nearest_are_the_same_as_one_by_one_however_alike_all_are(
    dimensions: int, alike: float, at_least: float
) -> None:
    generator = random.Random(f"{dimensions} {alike}")
    middle = unit(generator, dimensions)

    def some() -> list[float]:
        other = unit(generator, dimensions)
        mixed = [math.sqrt(alike) * a + math.sqrt(1 - alike) * b for a, b in zip(middle, other, strict=True)]
        length = math.sqrt(sum(value * value for value in mixed))
        return [value / length for value in mixed]

    index, made = LocalIndex(), Rows(dimensions)
    for number in range(150):
        made.append(f"{number:024d}", "q", 0.5, quantise(some()))
    index.rows = made
    for _ in range(10):
        asked = some()
        exact = [(dot(floats(asked), made.vector(n)) * made.scales[n], made.ids[n]) for n in range(150)]
        wanted = sorted((pair for pair in exact if pair[0] >= at_least), reverse=True)[:8]
        found = index.nearest(asked, at_least=at_least, limit=8)
        assert [near.similarity for near in found] == [similarity for similarity, _ in wanted]


def test_rows_of_small_scales_are_found_below_a_cosine_of_nothing() -> None:
    """A row of one large number has a scale of its own; its neighbours' are smaller."""
    generator, dimensions = random.Random(5), 64
    peak = [1.0] + [0.0] * (dimensions - 1)
    index, made = LocalIndex(), Rows(dimensions)
    made.append("p" * 24, "q", 0.5, quantise(peak))
    asked = unit(generator, dimensions)
    for number in range(60):
        made.append(f"{number:024d}", "q", 0.5, quantise([-value for value in asked]))
    index.rows = made
    assert len(index.nearest(asked, at_least=-1.1, limit=100)) == 61


def test_a_log_that_can_not_be_right_is_not_believed() -> None:
    generator = random.Random(1)
    one, two = unit(generator, 8), unit(generator, 8)
    start, end = LogPosition("life", 0, ""), LogPosition("life", 1, "")
    for changes in ([None], [b""], [b"x" * CHECKSUM_CHARACTERS + b"+nonsense"], [b"x" * CHECKSUM_CHARACTERS]):
        with pytest.raises(ValueError, match=r"missing|read|early"):
            LocalIndex().catch_up(start, end, changes)
    log, local_index = Log(), LocalIndex()
    log.add(row("a" * 24, one))
    log.bring(local_index)
    with pytest.raises(ValueError, match="another log"):
        local_index.catch_up(
            log.end,
            LogPosition("life", 2, "f" * CHECKSUM_CHARACTERS),
            [b"x" * CHECKSUM_CHARACTERS + row("b" * 24, two)],
        )
    log.add(row("b" * 24, unit(generator, 16)))
    with pytest.raises(ValueError, match="dimensions"):
        log.bring(LocalIndex())


def test_changes_may_come_twice_and_must_lead_from_where_the_index_is() -> None:
    generator = random.Random(2)
    log, local_index = Log(), LocalIndex()
    for number in range(3):
        log.add(row(f"{number:024d}", unit(generator, 8)))
    log.bring(local_index)
    local_index.catch_up(LogPosition("life", 0, ""), log.end, log.changes)
    local_index.catch_up(
        LogPosition("life", 0, ""),
        LogPosition("life", 1, log.changes[0][:CHECKSUM_CHARACTERS].decode()),
        log.changes[:1],
    )
    assert (local_index.log_position, len(local_index)) == (log.end, 3)
    other = Log()
    for number in range(4):
        other.add(row(f"{number + 9:024d}", unit(generator, 8)))
    with pytest.raises(ValueError, match="another log"):
        local_index.catch_up(LogPosition("life", 0, ""), other.end, other.changes)


def test_the_vendor_counts_as_we_rely_on_it_to() -> None:
    generator = random.Random(3)
    one = generator.randbytes(31)
    table = bytearray(generator.randbytes(31 * 50))
    counted = [
        sum((a ^ b).bit_count() for a, b in zip(one, table[start : start + 31], strict=True))
        for start in range(0, len(table), 31)
    ]
    assert list(differences(one, table)) == counted
    left, right = (array("b", [generator.randrange(-127, 128) for _ in range(40)]).tobytes() for _ in range(2))
    found = dots(left, right, 8)
    expected = [
        sum(
            a * b
            for a, b in zip(memoryview(left[i : i + 8]).cast("b"), memoryview(right[j : j + 8]).cast("b"), strict=True)
        )
        for i in range(0, 40, 8)
        for j in range(0, 40, 8)
    ]
    assert list(found) == expected
