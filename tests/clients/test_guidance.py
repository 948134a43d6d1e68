"""guidance, in an environment of its own: its programs compile to what is stored and sent."""

from __future__ import annotations

import asyncio
import json

from infra.local.processes import ROOT

PROGRAMS = ROOT / "tests" / "support" / "programs.py"
COMPILED = ROOT / "tests" / "support" / "programs.json"


async def made(*names: str) -> tuple[int, str, str]:
    """What `make grammar` prints for these programs."""
    programs = " ".join(f"{PROGRAMS}:{name}" for name in names)
    process = await asyncio.create_subprocess_exec(
        "make",
        "-s",
        "grammar",
        f"PROGRAM={programs}",
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_programs_compile_to_what_is_stored() -> None:
    stored = COMPILED.read_text()
    code, out, err = await made(*json.loads(stored))
    assert code == 0, err
    assert json.loads(out) == json.loads(stored)


async def test_what_is_no_program_is_said() -> None:
    for name, told in (("guidance", "It is no grammar"), ("nothing", "nothing")):
        code, _, err = await made(name)
        assert code != 0
        assert told in err
        assert "Traceback" not in err
