"""Without a language model: most questions of a new user are answered by quotes, and hardly any of them wrongly."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.support import keyless
from tests.support.library import Library


@pytest.mark.parametrize(("folder", "right", "wrong"), [(keyless.FOLDER, 46, 1), (keyless.HELD_OUT, 23, 2)])
async def test_questions_are_answered_by_quotes_or_not_at_all(
    library: Library, folder: Path, right: int, wrong: int
) -> None:
    asked = await keyless.ask_all(library, folder)
    counts = Counter(verdict for _, verdict, _ in asked)
    assert counts["right"] >= right, asked
    assert counts["wrong"] <= wrong, asked
