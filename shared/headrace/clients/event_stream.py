"""Reads Server-Sent Events: blocks of bytes, however they are cut, to the data of whole events.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from collections.abc import Iterator


class EventReader:
    """The data of each event, in the order of the blocks that it was fed. Names, ids and comments are left out."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, block: bytes) -> Iterator[bytes]:
        """What has become whole with this block."""
        block = self._rest + block
        # A line may end with CR, LF or both: behind a CR at the end of a block, its LF may still come.
        whole = max(block.rfind(b"\n"), block.rfind(b"\r", 0, -1)) + 1
        self._rest = block[whole:]
        for line in block[:whole].splitlines():
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
            elif not line and self._data:
                yield b"\n".join(self._data)
                self._data.clear()
