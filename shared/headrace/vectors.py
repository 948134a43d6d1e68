"""Vectors in a quarter of the room: int8 numbers with a scale, how far off that may be, and arithmetic on many at once.

SimSIMD does the arithmetic: 2 MB and a millisecond to import, where numpy is 70 MB and does not fit beside what reads
documents.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# What most embedding models give has length one already, as far as 32 bits say.
SINGLE_PRECISION = 1e-6

_FLOATS = [struct.pack("f", value - 256 if value > 127 else value) for value in range(256)]
_FLOAT_BYTES = [
    (place, bytes(packed[place] for packed in _FLOATS)) for place in ((2, 3) if sys.byteorder == "little" else (0, 1))
]
_SHIFTED_BACK = bytes((value + 128) % 256 for value in range(256))


@dataclass(frozen=True, slots=True)
class Quantised:
    """A unit-length vector as int8 `numbers` times `scale`."""

    numbers: bytes
    scale: float

    def error(self, vector: Sequence[float]) -> float:
        """The length of what this leaves out of the vector: a dot product with a unit vector is off by that at most."""
        return math.dist(vector, [number * self.scale for number in memoryview(self.numbers).cast("b")])


def quantise(vector: Sequence[float]) -> Quantised:
    """The vector in int8."""
    scale = max(max(vector, default=0.0), -min(vector, default=0.0)) / 127 or 1.0
    inverse = 1 / scale
    # Rounded above 0, and shifted back: twice as fast as rounding below and above.
    shifted = bytes([int(value * inverse + 128.5) for value in vector])
    return Quantised(shifted.translate(_SHIFTED_BACK), scale)


def unit(vector: Sequence[float]) -> Sequence[float]:
    """The vector with length one; nothing of one that has no length."""
    length = math.hypot(*vector)
    if abs(length - 1) < SINGLE_PRECISION:
        return vector
    return [x / length for x in vector] if length else ()


def floats(vector: Sequence[float]) -> bytes:
    """The vector as 32-bit floats of this machine."""
    # Three times as fast as an array of them.
    return struct.pack(f"{len(vector)}f", *vector)


def dot(one: bytes, other: bytes) -> float:
    """The dot product of a vector of 32-bit floats and one of int8."""
    return float(_simsimd().dot(memoryview(one).cast("f"), _widened(other)))


def _widened(numbers: bytes) -> memoryview[float]:
    """int8 numbers as 32-bit floats, by looking up the two bytes of each that are not 0."""
    wide = bytearray(4 * len(numbers))
    for place, bytes_of in _FLOAT_BYTES:
        wide[place::4] = numbers.translate(bytes_of)
    return memoryview(wide).cast("f")


def dots(left: bytes, right: bytes | bytearray, dimensions: int) -> memoryview[float]:
    """Every dot product of two tables of int8 vectors, row by row of the left one, as 32-bit floats."""
    # A table that is looked at can't grow: it is let go before this returns.
    with memoryview(right) as rows, rows.cast("b", shape=[len(right) // dimensions, dimensions]) as shaped:
        table = _simsimd().cdist(_table(left, "b", dimensions), shaped, "dot", out_dtype="float32")
        return memoryview(bytes(memoryview(table).cast("B"))).cast("f")


def differences(one: bytes, table: bytearray) -> bytes:
    """In how many bits each row of the table differs from the one, a byte each: rows are of 31 bytes at most."""
    asked = _table(one, "B", len(one))
    with memoryview(table) as rows, rows.cast("B", shape=[len(table) // len(one), len(one)]) as shaped:
        counts = _simsimd().cdist(asked, shaped, metric="hamming", dtype="bin8", out_dtype="uint8")
        return bytes(memoryview(counts).cast("B"))


def _table(numbers: bytes, kind: str, width: int) -> memoryview:
    return memoryview(numbers).cast(kind, shape=[len(numbers) // width, width])  # type: ignore[call-overload]


def _simsimd() -> Any:
    # Imported when the first vectors are compared; its own types know less than it can do.
    import simsimd

    return simsimd
