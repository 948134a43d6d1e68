"""Writes Microsoft's compound files (CFB, [MS-CFB]): what .msg and protected Office files are made of."""

from __future__ import annotations

import struct

SECTOR = 512
SMALL_SECTOR = 64
SMALL_BELOW = 4096
FREE, END, FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
STORAGE, STREAM, ROOT = 1, 2, 5

Tree = dict[str, "bytes | Tree"]


class Area:
    """Sectors one after the other, and the table that chains them."""

    def __init__(self, sector: int) -> None:
        self._sector = sector
        self.data = bytearray()
        self.table: list[int] = []

    def add(self, content: bytes) -> int:
        """Where the content begins."""
        if not content:
            return END
        start = len(self.table)
        self.data += content + bytes(-len(content) % self._sector)
        count = len(self.data) // self._sector - start
        self.table += [*range(start + 1, start + count), END]
        return start

    @property
    def packed_table(self) -> bytes:
        return struct.pack(f"<{len(self.table)}I", *self.table)


class Entry:
    """An entry of the directory."""

    def __init__(self, name: str, kind: int) -> None:
        self.name, self.kind = name, kind
        self.right = self.child = FREE
        self.start = self.size = 0

    def pack(self) -> bytes:
        text = self.name.encode("utf-16-le")
        fields = (len(text) + 2, self.kind, 1, FREE, self.right, self.child, 0, self.start, self.size)
        return text.ljust(64, b"\0") + struct.pack("<HBBIII16xI16xIQ", *fields)


def compound_file(tree: Tree) -> bytes:
    """A file of these streams (bytes) and storages (nested)."""
    large, small = Area(SECTOR), Area(SMALL_SECTOR)
    root = Entry("Root Entry", ROOT)
    entries = [root]
    _add(tree, root, entries, large, small)
    root.start, root.size = large.add(bytes(small.data)), len(small.data)
    small_table = small.packed_table + b"\xff" * (-len(small.packed_table) % SECTOR)
    small_start = large.add(small_table)
    directory = large.add(b"".join(entry.pack() for entry in entries) + bytes(128) * (-len(entries) % 4))
    count = 1
    while (len(large.table) + count) * 4 > count * SECTOR:
        count += 1
    places = list(range(len(large.table), len(large.table) + count))
    large.table += [FAT] * count
    large.table += [FREE] * (count * SECTOR // 4 - len(large.table))
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH6x", 62, 3, 0xFFFE, 9, 6)
    header += struct.pack("<9I", 0, count, directory, 0, SMALL_BELOW, small_start, len(small_table) // SECTOR, END, 0)
    return header + struct.pack("<109I", *places, *[FREE] * (109 - count)) + bytes(large.data) + large.packed_table


def _add(tree: Tree, parent: Entry, entries: list[Entry], large: Area, small: Area) -> None:
    previous: Entry | None = None
    # Siblings are a binary tree by length and name: a list to the right is one.
    for name, content in sorted(tree.items(), key=lambda item: (len(item[0]), item[0].upper())):
        entry = Entry(name, STREAM if isinstance(content, bytes) else STORAGE)
        if previous is None:
            parent.child = len(entries)
        else:
            previous.right = len(entries)
        previous = entry
        entries.append(entry)
        if isinstance(content, bytes):
            entry.start = (small if len(content) < SMALL_BELOW else large).add(content)
            entry.size = len(content)
        else:
            _add(content, entry, entries, large, small)
