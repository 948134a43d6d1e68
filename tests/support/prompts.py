"""What a model makes of a prompt: the frames in it, and what stands outside of them."""

from __future__ import annotations

import re

# The mark is the one that the rules tell of; without rules, that of the first frame. What else looks like a frame is text.
_TOLD = re.compile(r"tags whose names end in -([0-9a-f]{16})")
_OPENING = re.compile(r"<[a-z]+-([0-9a-f]{16})(?: number=\"\d+\")?>\n")


def framed(prompt: str, name: str) -> list[str]:
    """The texts of the prompt's frames of that name, in their order."""
    mark = _mark_of(prompt)
    return re.findall(rf"<{name}-{mark}(?: number=\"\d+\")?>\n(.*?)\n</{name}-{mark}>", prompt, re.DOTALL)


def question_in(prompt: str) -> str:
    """The question of a prompt: its last frame of that name."""
    return framed(prompt, "question")[-1]


def outside(prompt: str) -> str:
    """What stands in no frame: what a model that knows frames takes for its owner's word."""
    mark = _mark_of(prompt)
    left, depth = [], 0
    for piece in re.split(rf"(</?[a-z]+-{mark}(?: number=\"\d+\")?>)", prompt):
        if re.fullmatch(rf"</?[a-z]+-{mark}(?: number=\"\d+\")?>", piece):
            depth += -1 if piece.startswith("</") else 1
        elif depth == 0:
            left.append(piece)
    return "".join(left).strip()


def _mark_of(prompt: str) -> str:
    found = _TOLD.search(prompt) or _OPENING.search(prompt)
    return found.group(1) if found else "no frame at all"
