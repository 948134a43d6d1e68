"""Packed rows and their mirror, held against plain arithmetic."""

from __future__ import annotations

import math
import random
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.caches.mirror import Mirror
from headrace.caches.rows import Rows, sign_bytes, signs_of, signs_of_floats
from headrace.vectors import differences, dot, dots, quantise


def unit(generator: random.Random, dimensions: int) -> list[float]:
    values = [generator.gauss(0, 1) for _ in range(dimensions)]
    length = math.sqrt(sum(value * value for value in values))
    return [value / length for value in values]


def rows(generator: random.Random, count: int, dimensions: int) -> tuple[Rows, dict[str, list[float]]]:
    made, vectors = Rows(dimensions), {}
    for number in range(count):
        vectors[f"{number:024d}"] = unit(generator, dimensions)
        made.append(f"{number:024d}", f"question “{number}”", number / 100, quantise(vectors[f"{number:024d}"]))
    return made, vectors


@given(st.integers(0, 2**32), st.integers(1, 400))
def test_a_dot_product_is_off_by_no_more_than_the_error(seed: int, dimensions: int) -> None:
    generator = random.Random(seed)
    one, other = unit(generator, dimensions), unit(generator, dimensions)
    small = quantise(one)
    found = dot(array("f", other), small.numbers) * small.scale
    assert abs(found - sum(a * b for a, b in zip(one, other, strict=True))) <= small.error(one) + 1e-5
    assert signs_of_floats(array("f", one)) == signs_of(small.numbers) or any(abs(v) < small.scale for v in one)


@pytest.mark.parametrize("dimensions", [1, 7, 8, 16, 384, 1536])
def test_rows_come_back_as_they_were_packed(dimensions: int) -> None:
    made, _ = rows(random.Random(1), 20, dimensions)
    again = Rows.unpack(made.pack(3, 17))
    assert (again.ids, again.questions, again.bars, again.scales) == (
        made.ids[3:17], made.questions[3:17], made.bars[3:17], made.scales[3:17],
    )  # fmt: skip
    assert again.vector(0) == made.vector(3)
    assert len(again.signs) == 14 * sign_bytes(dimensions)
    for cut in (0, 3, 6, 40, len(made.pack()) - 1):
        with pytest.raises((ValueError, Exception)):
            Rows.unpack(made.pack()[:cut])


@pytest.mark.parametrize("dimensions", [5, 16, 64, 384])
def test_the_nearest_are_found_through_any_changes(dimensions: int) -> None:
    generator = random.Random(dimensions)
    mirror, held = Mirror(), dict[str, list[float]]()
    for step in range(1, 400):
        if held and generator.random() < 0.3:
            gone = generator.choice(sorted(held))
            del held[gone]
            mirror.apply([f"-{gone}".encode()], step)
        else:
            row, entry = Rows(dimensions), f"{generator.randrange(200):024d}"
            held[entry] = unit(generator, dimensions)
            row.append(entry, "q", 0.5, quantise(held[entry]))
            mirror.apply([b"+" + row.pack()], step)
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
    mirror = Mirror()
    row = Rows(8)
    row.append("a" * 24, "q", 0.5, quantise(unit(random.Random(1), 8)))
    for changes in ([None], [b""], [b"+nonsense"]):
        with pytest.raises(ValueError, match=r"missing|read|early"):
            mirror.apply(changes, 1)
    mirror.apply([b"+" + row.pack()], 1)
    other = Rows(16)
    other.append("b" * 24, "q", 0.5, quantise(unit(random.Random(1), 16)))
    with pytest.raises(ValueError, match="dimensions"):
        mirror.apply([b"+" + other.pack()], 2)


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
