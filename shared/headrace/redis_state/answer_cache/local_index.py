"""A partition's index in this process: its rows, kept current by the partition's log, and searched without a server.

Sign bits first, which leave a few rows of thousands; then the int8 vectors, all at once where an embedding model finds that
any two questions are alike and sign bits leave many; then the nearest, one by one (docs/decisions.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from heapq import nlargest
from struct import error as StructError  # noqa: N812 - it is named so
from typing import NamedTuple

from headrace.redis_state.answer_cache.rows import Rows, sign_bytes, signs_of_floats
from headrace.redis_state.layout import CHECKSUM_CHARACTERS
from headrace.types import Candidate
from headrace.vectors import differences, dot, dots, floats, quantise

# How far sign bits may be off, in standard deviations: what they leave out wrongly is one row in millions.
SIGN_DEVIATIONS = 5.0
# More rows than this are compared in int8 before they are in single precision.
FEW_ROWS = 32
# Where sign bits leave more than this share of the rows, all are compared: picking them out takes longer.
MOST_OF_ROWS = 0.25
# A row's vector is about as long as a unit vector, and sums of single precision are about right.
LONGEST_ROW = 1.02
ROUNDING = 1e-4


class LogPosition(NamedTuple):
    """How far a partition's log is known: the partition's incarnation, the number of the last change, its checksum."""

    incarnation: str
    seq: int
    checksum: str


UNKNOWN = LogPosition("", 0, "")
# Where a partition's log need not be known.
NO_LOG = LogPosition("-", 0, "")


class LocalIndex:
    """The questions of one partition."""

    def __init__(self) -> None:
        self.log_position = UNKNOWN
        self.rows = Rows(0)
        self._positions: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> int:
        """About how much memory the rows take, in bytes."""
        return len(self.rows.vectors) + len(self.rows.signs) + self.rows.characters + 500 * len(self.rows)

    def fill(self, fields: Mapping[bytes, bytes]) -> None:
        """Become what the partition's hash has. Raises ValueError when it can't be read."""
        try:
            seq, packed = int(fields[b"seq"]), int(fields[b"packed"])
            names = (b"incarnation", b"checksum", b"packed_checksum")
            incarnation, checksum, packed_checksum = (fields[name].decode() for name in names)
        except KeyError as error:
            raise ValueError("Another release wrote this.") from error
        self.log_position = LogPosition(incarnation, packed, packed_checksum)
        self.rows, self._positions = Rows(0), {}
        for name in sorted((name for name in fields if name.startswith(b"b:")), key=lambda name: int(name[2:])):
            self._add(_unpack(fields[name]))
        changes = [fields.get(b"e:%d" % number, b"") for number in range(packed + 1, seq + 1)]
        self.catch_up(self.log_position, LogPosition(incarnation, seq, checksum), changes)

    def catch_up(self, start: LogPosition, end: LogPosition, changes: Sequence[bytes | None]) -> None:
        """Make the changes that lead from one position to another; this index may be between them, or further.

        Raises ValueError when a change is missing, can't be read, or belongs to another log.
        """
        ahead = self.log_position.seq - start.seq
        if ahead > len(changes):
            # Another lookup, which was answered after this one, has brought more.
            return
        if ahead < 0 or (ahead and _checksum(changes[ahead - 1]) != self.log_position.checksum):
            raise ValueError("The changes begin in another log.")
        checksum = self.log_position.checksum
        for change in changes[ahead:]:
            checksum = _checksum(change)
            self._change((change or b"")[CHECKSUM_CHARACTERS:])
        if checksum != end.checksum:
            raise ValueError("The changes end in another log.")
        self.log_position = end

    def _change(self, change: bytes) -> None:
        if not change:
            raise ValueError("A change is missing.")
        if change[:1] == b"+":
            self._add(_unpack(change[1:]))
        else:
            self._remove(change[1:].decode())

    def _add(self, rows: Rows) -> None:
        for entry in rows.ids:
            self._remove(entry)
        if not len(self.rows):
            self.rows = Rows(rows.dimensions)
        if rows.dimensions != self.rows.dimensions:
            raise ValueError("Vectors of different dimensions are in one partition.")
        self._positions.update((entry, len(self.rows) + position) for position, entry in enumerate(rows.ids))
        self.rows.extend(rows)

    def _remove(self, entry: str) -> None:
        position = self._positions.pop(entry, None)
        if position is None:
            return
        moved = self.rows.ids[-1]
        self.rows.take_out(position)
        if moved != entry:
            self._positions[moved] = position

    def nearest(self, vector: Sequence[float], *, at_least: float, limit: int) -> list[Candidate]:
        """The rows whose cosine to the unit-length vector is at least this, nearest first."""
        rows = self.rows
        if not len(rows) or len(vector) != rows.dimensions:
            return []
        asked = floats(vector)
        positions = self._with_like_signs(asked, at_least)
        if len(positions) > FEW_ROWS:
            positions = self._nearest_in_int8(positions, vector, at_least, limit)
        near: list[tuple[float, int]] = []
        for position in positions:
            similarity = dot(asked, rows.vector(position)) * rows.scales[position]
            if similarity >= at_least:
                near.append((-similarity, position))
        near.sort()
        return [
            Candidate(rows.ids[position], rows.questions[position], -distance) for distance, position in near[:limit]
        ]

    def _with_like_signs(self, asked: bytes, at_least: float) -> Sequence[int]:
        """The rows whose sign bits allow such a cosine; all of them where that leaves out too few to be worth it."""
        rows, kept = self.rows, sign_bytes(self.rows.dimensions)
        most = _most_differences(kept * 8, at_least)
        if kept == 0 or most >= kept * 8:
            return range(len(rows))
        # A byte of 1 for each candidate: bytes are searched faster than lists.
        flags = differences(signs_of_floats(asked), rows.signs).translate(_at_most(most))
        if flags.count(1) > MOST_OF_ROWS * len(rows):
            return range(len(rows))
        found, position = [], flags.find(1)
        while position >= 0:
            found.append(position)
            position = flags.find(1, position + 1)
        return found

    def _nearest_in_int8(
        self, positions: Sequence[int], vector: Sequence[float], at_least: float, limit: int
    ) -> list[int]:
        """Those of these rows that can be among the nearest, by a comparison of them all that may be off by a little."""
        rows, small = self.rows, quantise(vector)
        error = small.error(vector) * LONGEST_ROW + ROUNDING
        products = dots(small.numbers, rows.table(positions), rows.dimensions).tolist()
        scales, scale = rows.scales, small.scale
        # Most are out by the largest scale of all, which is one comparison each.
        least = (at_least - error) / (scale * max(scales)) if at_least > error else -math.inf
        likely = [(product, positions[place]) for place, product in enumerate(products) if product >= least]
        near = [(product * scale * scales[position], position) for product, position in likely]
        # One that is off by all of it is still before the last of as many as are wanted.
        last = nlargest(limit, near)[-1][0] - 2 * error if len(near) > limit else at_least - error
        return [position for similarity, position in near if similarity >= last]


def _checksum(change: bytes | None) -> str:
    return (change or b"")[:CHECKSUM_CHARACTERS].decode()


@lru_cache(maxsize=256)
def _most_differences(bits: int, at_least: float) -> int:
    """How many sign bits of two vectors may differ whose cosine is at least this.

    Source: Charikar, Similarity Estimation Techniques from Rounding Algorithms, 2002.
    """
    share = math.acos(max(-1.0, min(1.0, at_least))) / math.pi
    return math.ceil(bits * share + SIGN_DEVIATIONS * math.sqrt(bits * max(share * (1 - share), 0.01)))


@lru_cache(maxsize=256)
def _at_most(most: int) -> bytes:
    """Makes 1 of every byte up to this, and 0 of all others."""
    return bytes(value <= most for value in range(256))


def _unpack(packed: bytes) -> Rows:
    try:
        return Rows.unpack(packed)
    except (StructError, UnicodeDecodeError) as error:
        raise ValueError("Rows that can't be read.") from error
