"""Cached questions as packed rows: what an index needs to know of each, in a few hundred bytes.

A row is a question's id, its admission score (from which on a new chunk would have been retrieved for it), its text, and
its vector as int8 numbers with a scale, of which the first sign bits are kept beside, to be compared quickly. Rows lie in
columns, so that a block of them is read as fast as it is copied; one row is a block of one.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace.vectors import Quantised

ID_CHARACTERS = 24
# Distances of so many sign bits fit into a byte.
MOST_SIGN_BYTES = 31
_HEAD = struct.Struct("<IH")
_SIGNS = bytes(49 if value < 128 else 48 for value in range(256))


def sign_bytes(dimensions: int) -> int:
    """How many bytes of sign bits are kept of a vector."""
    return min(dimensions // 8, MOST_SIGN_BYTES)


def signs_of(numbers: bytes) -> bytes:
    """The first sign bits of an int8 vector."""
    kept = sign_bytes(len(numbers))
    return int(numbers[: kept * 8].translate(_SIGNS), 2).to_bytes(kept, "big") if kept else b""


def signs_of_floats(packed: bytes) -> bytes:
    """The first sign bits of a vector of 32-bit floats: each stands at the top of its number's top byte."""
    return signs_of(packed[3 if sys.byteorder == "little" else 0 :: 4])


@dataclass(slots=True)
class Rows:
    """Rows in columns. All vectors have `dimensions` numbers."""

    dimensions: int
    ids: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    admission_scores: array[float] = field(default_factory=lambda: array("f"))
    scales: array[float] = field(default_factory=lambda: array("f"))
    signs: bytearray = field(default_factory=bytearray)
    vectors: bytearray = field(default_factory=bytearray)
    # How long the questions are in sum.
    characters: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def append(self, entry: str, question: str, admission_score: float, vector: Quantised) -> None:
        """Add a row."""
        self.ids.append(entry)
        self.questions.append(question)
        self.characters += len(question)
        self.admission_scores.append(admission_score)
        self.scales.append(vector.scale)
        self.signs += signs_of(vector.numbers)
        self.vectors += vector.numbers

    def extend(self, rows: Rows) -> None:
        """Add other rows of as many dimensions."""
        self.ids += rows.ids
        self.questions += rows.questions
        self.characters += rows.characters
        self.admission_scores += rows.admission_scores
        self.scales += rows.scales
        self.signs += rows.signs
        self.vectors += rows.vectors

    def take_out(self, position: int) -> None:
        """Remove a row; the last one moves to its position."""
        last = len(self.ids) - 1
        self.characters -= len(self.questions[position])
        for column, width in ((self.signs, sign_bytes(self.dimensions)), (self.vectors, self.dimensions)):
            column[position * width : (position + 1) * width] = column[last * width :]
            del column[last * width :]
        columns: tuple[Any, ...] = (self.ids, self.questions, self.admission_scores, self.scales)
        for values in columns:
            values[position] = values[last]
            values.pop()

    def vector(self, position: int) -> bytes:
        """A row's int8 numbers."""
        return bytes(self.vectors[position * self.dimensions : (position + 1) * self.dimensions])

    def table(self, positions: Sequence[int]) -> bytes | bytearray:
        """The int8 numbers of the rows at these positions, which ascend, one after the other."""
        if len(positions) == len(self):
            return self.vectors
        width, vectors = self.dimensions, memoryview(self.vectors)
        return b"".join([vectors[position * width : (position + 1) * width] for position in positions])

    def pack(self, start: int = 0, end: int | None = None) -> bytes:
        """These rows as bytes; little-endian everywhere."""
        end = len(self) if end is None else end
        width, signs = self.dimensions, sign_bytes(self.dimensions)
        texts = [question.encode() for question in self.questions[start:end]]
        return b"".join(
            (
                _HEAD.pack(end - start, width),
                "".join(self.ids[start:end]).encode(),
                _little(self.admission_scores[start:end]),
                _little(self.scales[start:end]),
                bytes(self.signs[start * signs : end * signs]),
                bytes(self.vectors[start * width : end * width]),
                _little(array("I", map(len, texts))),
                *texts,
            )
        )

    @classmethod
    def unpack(cls, packed: bytes) -> Rows:
        """What `pack` wrote. Raises ValueError or struct.error for anything else."""
        count, width = _HEAD.unpack_from(packed)
        view, position = memoryview(packed), _HEAD.size

        def take(size: int) -> memoryview:
            nonlocal position
            position += size
            if position > len(packed):
                raise ValueError("The rows end early.")
            return view[position - size : position]

        names = bytes(take(count * ID_CHARACTERS)).decode()
        ids = [names[start : start + ID_CHARACTERS] for start in range(0, len(names), ID_CHARACTERS)]
        admission_scores, scales = (_from_little("f", take(4 * count)) for _ in range(2))
        signs, vectors = bytearray(take(count * sign_bytes(width))), bytearray(take(count * width))
        sizes: array[int] = _from_little("I", take(4 * count))
        questions = [bytes(take(size)).decode() for size in sizes]
        return cls(width, ids, questions, admission_scores, scales, signs, vectors, sum(map(len, questions)))


def _little(values: array[float] | array[int]) -> bytes:
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values.tobytes()


def _from_little(kind: str, data: memoryview) -> array[Any]:
    values: array[Any] = array(kind)
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values
