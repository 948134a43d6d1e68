"""Packed rows and their mirror, held against plain arithmetic."""

from __future__ import annotations

import hashlib
import math
import random
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.cache_layout import MARK_CHARACTERS
from headrace.caches.mirror import Mirror, Point
from headrace.caches.rows import Rows, sign_bytes, signs_of, signs_of_floats
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
            f"{number:024d}", f"question “{number}”", number / 100, quantise(vectors[f"{number:024d}"]), 2**60 + number
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
    assert (again.ids, again.questions, again.bars, again.scales, again.wordings) == (
        made.ids[3:17], made.questions[3:17], made.bars[3:17], made.scales[3:17],
        made.wordings[3:17],
    )  # fmt: skip
    assert again.vector(0) == made.vector(3)
    assert len(again.signs) == 14 * sign_bytes(dimensions)
    for cut in (0, 3, 6, 40, len(made.pack()) - 1):
        with pytest.raises((ValueError, Exception)):
            Rows.unpack(made.pack()[:cut])


class Log:
    """Changes as a server numbers and marks them."""

    def __init__(self) -> None:
        self.point = Point("life", 0, "")
        self.changes: list[bytes] = []

    def add(self, change: bytes) -> None:
        mark = hashlib.sha1(self.point.mark.encode() + change).hexdigest()[:MARK_CHARACTERS]  # noqa: S324 - no secret
        self.point = Point("life", self.point.seq + 1, mark)
        self.changes.append(mark.encode() + change)

    def bring(self, mirror: Mirror) -> None:
        start = mirror.point if mirror.point.life else Point("life", 0, "")
        mirror.catch_up(start, self.point, self.changes[start.seq :])


def row(entry: str, vector: list[float]) -> bytes:
    made = Rows(len(vector))
    made.append(entry, "q", 0.5, quantise(vector), int(entry, 16) % 7)
    return b"+" + made.pack()


@pytest.mark.parametrize("dimensions", [5, 16, 64, 384])
def test_the_nearest_are_found_through_any_changes(dimensions: int) -> None:
    generator = random.Random(dimensions)
    mirror, log, held = Mirror(), Log(), dict[str, list[float]]()
    for _ in range(1, 400):
        if held and generator.random() < 0.3:
            gone = generator.choice(sorted(held))
            del held[gone]
            log.add(f"-{gone}".encode())
        else:
            entry = f"{generator.randrange(200):024d}"
            held[entry] = unit(generator, dimensions)
            log.add(row(entry, held[entry]))
        log.bring(mirror)
        assert len(mirror) == len(held)
        asked = unit(generator, dimensions)
        if held and generator.random() < 0.5:
            turned = [a + 0.1 * b for a, b in zip(held[generator.choice(sorted(held))], asked, strict=True)]
            asked = [value / math.sqrt(sum(v * v for v in turned)) for value in turned]
        exact = {entry: sum(a * b for a, b in zip(asked, vector, strict=True)) for entry, vector in held.items()}
        found = {near.id: near.similarity for near in mirror.nearest(asked, at_least=0.8, limit=1000)}
        for entry, similarity in exact.items():
            if similarity > 0.82:
                assert found[entry] == pytest.approx(similarity, abs=0.02)
            elif similarity < 0.78:
                assert entry not in found


def test_a_log_that_can_not_be_right_is_not_believed() -> None:
    generator = random.Random(1)
    one, two = unit(generator, 8), unit(generator, 8)
    start, end = Point("life", 0, ""), Point("life", 1, "")
    for changes in ([None], [b""], [b"x" * MARK_CHARACTERS + b"+nonsense"], [b"x" * MARK_CHARACTERS]):
        with pytest.raises(ValueError, match=r"missing|read|early"):
            Mirror().catch_up(start, end, changes)
    log, mirror = Log(), Mirror()
    log.add(row("a" * 24, one))
    log.bring(mirror)
    with pytest.raises(ValueError, match="elsewhere"):
        mirror.catch_up(
            log.point, Point("life", 2, "f" * MARK_CHARACTERS), [b"x" * MARK_CHARACTERS + row("b" * 24, two)]
        )
    log.add(row("b" * 24, unit(generator, 16)))
    with pytest.raises(ValueError, match="dimensions"):
        log.bring(Mirror())


def test_changes_may_come_twice_and_must_lead_from_where_the_mirror_is() -> None:
    generator = random.Random(2)
    log, mirror = Log(), Mirror()
    for number in range(3):
        log.add(row(f"{number:024d}", unit(generator, 8)))
    log.bring(mirror)
    mirror.catch_up(Point("life", 0, ""), log.point, log.changes)
    mirror.catch_up(Point("life", 0, ""), Point("life", 1, log.changes[0][:MARK_CHARACTERS].decode()), log.changes[:1])
    assert (mirror.point, len(mirror)) == (log.point, 3)
    other = Log()
    for number in range(4):
        other.add(row(f"{number + 9:024d}", unit(generator, 8)))
    with pytest.raises(ValueError, match="elsewhere"):
        mirror.catch_up(Point("life", 0, ""), other.point, other.changes)


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
