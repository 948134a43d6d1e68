"""Frames for texts that a language model is to read as data: no text can close the frame that it stands in, or open one.

The marks of a frame carry a digest of everything that stands in any frame of the prompt. Who writes one of the texts can't
know it: to contain it, a text would have to contain its own digest. The same texts have the same marks, so that a prompt
can be cached by its server.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

MARK_CHARACTERS = 16


class Frame:
    """Wraps the texts of one prompt. `texts` are all that will stand in it."""

    def __init__(self, texts: Iterable[str]) -> None:
        # Lengths, so that no shift of text from one to its neighbour keeps the digest.
        parts = [part for text in texts for part in (str(len(text)), text)]
        self.mark = hashlib.sha256("\x1f".join(parts).encode(errors="replace")).hexdigest()[:MARK_CHARACTERS]

    def wrap(self, name: str, text: str, *, number: int | None = None) -> str:
        """The text between two marks; the name and the number are ours, never a stranger's."""
        numbered = "" if number is None else f' number="{number}"'
        return f"<{name}-{self.mark}{numbered}>\n{text}\n</{name}-{self.mark}>"
