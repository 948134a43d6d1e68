"""The Lua scripts of `lua/`: each step that must be one is one script.

A script names the functions of `lua/shared/` that it uses in its first line, `-- requires: log, is_current`; they are put
before it, each once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.commands.core import AsyncScript

FOLDER = Path(__file__).parent / "lua"
REQUIRES = "-- requires: "
# Read as the module is imported: nothing reads files while the event loop runs.
_SHARED = {path.stem: path.read_text(encoding="utf-8") for path in sorted((FOLDER / "shared").glob("*.lua"))}
_SCRIPTS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.lua"))}


def script(client: Redis, name: str) -> AsyncScript:
    """The script of that name, ready to be called with `keys` and `args`."""
    return client.register_script(source(name))


def source(name: str) -> str:
    """The whole text of a script, with the functions that it requires."""
    return "\n".join([*(_SHARED[each] for each in _required(_SCRIPTS[name])), _SCRIPTS[name]])


def _required(text: str) -> list[str]:
    """The names of the functions' files, each after those that it requires itself."""
    head, _, _ = text.partition("\n")
    if not head.startswith(REQUIRES):
        return []
    found: dict[str, None] = {}
    for name in head.removeprefix(REQUIRES).split(", "):
        found.update(dict.fromkeys([*_required(_SHARED[name]), name]))
    return list(found)
